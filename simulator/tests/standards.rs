//! What a node promises does not depend on who happens to be in reach.

use core::time::Duration;
use tallac_core::operation::KeyChoice;
use tallac_core::upload::UploadError;
use tallac_simulator::chance::content;
use tallac_simulator::{Crash, Ended, Grid, GridSpec, NodeId};

fn happy(grid: &Grid, node: NodeId) -> usize {
    let now = grid.world.clock(node);
    grid.world.machine(node).expect("it runs").status(0, now).happy
}

fn put(grid: &mut Grid) -> Ended {
    let client = grid.clients[0];
    let content = content(grid.operations.total() as u64, 50_000).into();
    let put = grid.operations.put(&mut grid.world, client, content, KeyChoice::Random, true);
    assert!(grid.finish_operations(Duration::from_secs(300)));
    grid.operations.ended(put).expect("it is over").clone()
}

/// Cut off from all but four servers, for a day, over a restart: an upload still wants seven.
#[test]
fn a_partition_never_lowers_the_standard() {
    let mut grid = Grid::running(1, &GridSpec::default());
    let client = grid.clients[0];
    assert_eq!(happy(&grid, client), 7);
    // Time for the list of servers to be saved.
    let soon = grid.world.now() + Duration::from_secs(10);
    grid.run_until(soon);

    let mut apart: Vec<NodeId> = grid.servers[4..].to_vec();
    apart.extend(&grid.introducers);
    grid.world.partition(&apart);
    for pause in [1, 60, 3600, 24 * 3600] {
        let later = grid.world.now() + Duration::from_secs(pause);
        grid.run_until(later);
        assert_eq!(happy(&grid, client), 7, "after {pause} seconds");
    }
    let check = |ended: Ended| match ended {
        Ended::NotStored(error) => match *error {
            UploadError::Unhappy { happy, happiness, known, .. } => {
                assert_eq!((happy, happiness, known), (7, 4, 10));
            }
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    };
    check(put(&mut grid));

    grid.crash(client, Crash::PowerCut);
    grid.world.start(client);
    let later = grid.world.now() + Duration::from_secs(30);
    grid.run_until(later);
    assert_eq!(happy(&grid, client), 7, "after a restart");
    check(put(&mut grid));

    grid.world.heal();
    let later = grid.world.now() + Duration::from_secs(300);
    grid.run_until(later);
    assert!(matches!(put(&mut grid), Ended::Stored(_)));
}

/// A known server that is not in use costs memory, of which a large grid has little.
#[test]
#[cfg(target_os = "linux")]
fn bytes_per_idle_server() {
    use std::sync::Arc;
    use tallac_core::announcement::{Announcement, ServerInfo};
    use tallac_core::identity::{ServerId, TubId};
    use tallac_core::nurl::{Address, Pin, Service, Swissnum};
    use tallac_core::peers::ServerTable;
    use tallac_core::time::UnixTime;

    const SERVERS: u32 = 200_000;
    // What the system counts, so that the allocator's own costs are in it.
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
        let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("in pages");
        pages * 4096
    };
    let announcement = |number: u32| {
        let mut id = [7; 32];
        id[28..].copy_from_slice(&number.to_be_bytes());
        let address = Address { host: format!("server{number}.example.net"), port: 3457 };
        let swissnum = Swissnum::new("abcdefghijklmnopqrstuvwxyz").expect("well formed");
        let info = ServerInfo {
            nickname: format!("server {number}"),
            tub_id: TubId([1; 20]),
            permutation_seed: id.to_vec(),
            service: Some(Service { pin: Pin(id), swissnum, addresses: vec![address] }),
            program: "tallac/0.1.0".into(),
        };
        Announcement { server: ServerId(id), service: "storage".into(), sequence: 1, info }
    };
    let before = resident();
    let mut table = ServerTable::default();
    for number in 0..SERVERS {
        table.learn(announcement(number), UnixTime(0));
    }
    let each = (resident() - before) / u64::from(SERVERS);
    println!("{each} bytes per idle server");
    assert_eq!(table.len(), SERVERS as usize);
    assert!(Arc::strong_count(&table.iter().next().expect("some").1.info) == 1);
    assert!(each < 1024, "{each} bytes per idle server");
}
