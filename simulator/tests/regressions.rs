//! What the simulator found once must not come back: each test is the smallest world that showed it.

use core::time::Duration;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;
use tallac_simulator::chance::content;
use tallac_simulator::{Crash, Ended, Grid, GridSpec, NodeId, StoredFile};

fn spec(servers: u32, needed: u16, total: u16, segment: u32) -> GridSpec {
    let encoding = EncodingParams::new(needed, total, segment).unwrap();
    GridSpec { servers, encoding, ..GridSpec::default() }
}

fn stored(grid: &mut Grid, len: u64) -> StoredFile {
    let content = content(len, len).into();
    let client = grid.clients[0];
    grid.operations.put(&mut grid.world, client, content, KeyChoice::Random, true);
    assert!(grid.finish_operations(Duration::from_secs(60)));
    grid.operations.files().last().expect("it was stored").clone()
}

fn read(grid: &mut Grid, file: &StoredFile, patience: Duration) {
    let client = grid.clients[0];
    let range = 0..file.content.len();
    let get = grid.operations.get(&mut grid.world, client, file, range);
    assert!(grid.finish_operations(patience), "{:?}", grid.operations.list_under_way());
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)), "{:?}", grid.operations.ended(get));
    assert_eq!(grid.operations.violations(), [""; 0]);
}

fn with_share_in_progress(grid: &Grid) -> Option<NodeId> {
    grid.servers.iter().copied().find(|&server| {
        let status = grid.world.machine(server).map(|node| node.status(0, grid.world.clock(server)));
        status.and_then(|status| status.storage).is_some_and(|storage| storage.shares_in_progress > 0)
    })
}

fn rest(grid: &mut Grid, time: Duration) {
    let until = grid.world.now() + time;
    grid.run_until(until);
}

/// With enough shares open, an answer to come counted as overdue for ever: the node woke without
/// end. A reader that pauses gave it the time.
#[test]
fn a_mute_server_does_not_wake_a_download_for_ever() {
    let mut grid = Grid::running(1, &spec(14, 3, 10, 4096));
    let file = stored(&mut grid, 600_000);
    for mute in 0..14 {
        let server = grid.servers[mute];
        grid.world.pause(server);
        read(&mut grid, &file, Duration::from_secs(60));
        grid.world.resume(server);
        rest(&mut grid, Duration::from_secs(1));
    }
}

/// The connections from before the power cut broke at the first question, and each server was
/// given up with its connection.
#[test]
fn a_download_right_after_a_power_cut() {
    let mut grid = Grid::running(1, &GridSpec::default());
    let file = stored(&mut grid, 100_000);
    for server in grid.servers.clone() {
        grid.crash(server, Crash::PowerCut);
        grid.world.start(server);
    }
    read(&mut grid, &file, Duration::from_secs(5));
}

/// A connection that swallows everything, to the only server that has the file.
#[test]
fn a_dead_connection_to_a_living_server() {
    let mut grid = Grid::running(1, &spec(1, 1, 1, 4096));
    let file = stored(&mut grid, 10_000);
    let mut broken = 0;
    while grid.world.break_connection(0) {
        broken += 1;
    }
    assert!(broken >= 2, "to the introducer and to the server");
    read(&mut grid, &file, Duration::from_secs(30));
}

/// A server bears 256 requests at once and throws out who sends more.
#[test]
fn more_blocks_than_a_server_bears_requests() {
    let mut grid = Grid::running(1, &spec(1, 1, 1, 500));
    let file = stored(&mut grid, 400_000);
    let before = grid.world.network_counts().connects;
    let client = grid.clients[0];
    let gets = [(); 2].map(|()| grid.operations.get(&mut grid.world, client, &file, 0..400_000));
    assert!(grid.finish_operations(Duration::from_secs(60)), "{:?}", grid.operations.list_under_way());
    for get in gets {
        assert!(matches!(grid.operations.ended(get), Some(Ended::Read)), "{:?}", grid.operations.ended(get));
    }
    assert_eq!(grid.world.network_counts().connects, before, "nobody was thrown out");
}

/// Whenever one of its servers goes down, an upload ends well: another takes the share, in a
/// further pass over the content, which once was set up and never begun.
#[test]
fn a_server_goes_down_at_each_moment_of_an_upload() {
    let mut moments = 0;
    for steps in (0..).step_by(7) {
        let mut grid = Grid::running(1, &spec(10, 2, 5, 4096));
        let client = grid.clients[0];
        let content = content(1, 30_000).into();
        grid.operations.put(&mut grid.world, client, content, KeyChoice::Convergent, true);
        for _ in 0..steps {
            grid.step();
        }
        if grid.operations.under_way() == 0 {
            break;
        }
        moments += 1;
        let server = with_share_in_progress(&grid).unwrap_or(grid.servers[0]);
        grid.crash(server, if steps % 2 == 0 { Crash::PowerCut } else { Crash::Kill });
        assert!(grid.finish_operations(Duration::from_secs(120)), "{:?}", grid.operations.list_under_way());
        assert_eq!(
            (grid.operations.acks(), grid.operations.violations().len()),
            (1, 0),
            "after {steps} steps"
        );
        let file = grid.operations.files()[0].clone();
        read(&mut grid, &file, Duration::from_secs(60));
    }
    assert!(moments > 20, "only {moments} moments");
}

/// A share lost its server and was to move to a second, and then to a third that answered late; the
/// two took turns at it for ever.
#[test]
fn a_server_goes_down_and_two_answer_late() {
    for delay in (0..120).step_by(4) {
        let mut grid = Grid::running(1, &spec(12, 3, 10, 4096));
        let late = [grid.servers[2], grid.servers[7]];
        late.iter().for_each(|server| grid.world.pause(*server));
        let client = grid.clients[0];
        let content = content(1, 60_000).into();
        grid.operations.put(&mut grid.world, client, content, KeyChoice::Convergent, true);
        let server = loop {
            grid.step();
            if let Some(server) = with_share_in_progress(&grid) {
                break server;
            }
        };
        grid.crash(server, Crash::Kill);
        rest(&mut grid, Duration::from_millis(delay));
        late.iter().for_each(|server| grid.world.resume(*server));
        assert!(grid.finish_operations(Duration::from_secs(120)), "{:?}", grid.operations.list_under_way());
        assert_eq!((grid.operations.acks(), grid.operations.violations().len()), (1, 0));
    }
}

/// More is sent to a server than it allows before its slow disk has taken what came before.
#[test]
fn a_slow_disk_holds_back_the_sender() {
    let mut spec = spec(1, 1, 1, 1024 * 1024);
    spec.network.bandwidth = 1_000_000_000;
    let mut grid = Grid::running(1, &spec);
    let server = grid.servers[0];
    grid.world.slow_disk(server, 300);
    let file = stored(&mut grid, 20_000_000);
    assert!(grid.world.network_counts().ungranted > 0);
    grid.world.slow_disk(server, 1);
    read(&mut grid, &file, Duration::from_secs(60));
}

/// Blocks in a queue on a slow line counted as late one after the other and were asked for from
/// other servers, too; and with only one server the download was given up.
#[test]
fn on_a_slow_line_nothing_is_fetched_twice() {
    for (servers, needed, total) in [(1, 1, 1), (10, 3, 10)] {
        let mut spec = spec(servers, needed, total, 128 * 1024);
        spec.network.bandwidth = 25_000;
        let mut grid = Grid::running(1, &spec);
        let len = 4_000_000;
        let content = content(1, len).into();
        let client = grid.clients[0];
        grid.operations.put(&mut grid.world, client, content, KeyChoice::Random, true);
        assert!(grid.finish_operations(Duration::from_secs(600)), "{:?}", grid.operations.list_under_way());
        let file = grid.operations.files().last().expect("it was stored").clone();
        let before = grid.world.network_counts().bytes;
        read(&mut grid, &file, Duration::from_secs(600));
        let bytes = grid.world.network_counts().bytes - before;
        assert!(bytes < len * 13 / 10, "{bytes} bytes to read {len} with {needed} of {total}");
    }
}
