//! A large grid: `thousand_servers [SERVERS [CLIENTS [FILES]]]`. Tells how fast it runs, and what a
//! server costs that nobody talks to.

use core::time::Duration;
use std::time::Instant;
use tallac_core::operation::KeyChoice;
use tallac_simulator::{Grid, GridSpec, chance};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>().expect("a number"));
    let servers = numbers.next().unwrap_or(1_000);
    let clients = numbers.next().unwrap_or(4);
    let files = numbers.next().unwrap_or(40);

    // Servers that know of no introducer do nothing but listen.
    let before = resident();
    let idle = GridSpec { introducers: 0, servers, clients: 0, ..GridSpec::default() };
    let mut grid = Grid::new(1, &idle);
    grid.start_all();
    grid.run_until(Duration::from_secs(3_600));
    let each = resident().saturating_sub(before) / u64::from(servers);
    println!("{each} bytes for each of {servers} idle servers");
    drop(grid);

    let began = Instant::now();
    // An introducer takes some hundred connections; each server has all introducers.
    let spec = GridSpec { servers, clients, ..GridSpec::default() };
    let mut grid = Grid::running(1, &spec);
    println!("{clients} clients know {servers} servers after {:.1} s", began.elapsed().as_secs_f64());
    let began = (Instant::now(), grid.world.trace().entries());
    for number in 0..files {
        let client = grid.clients[(number % clients) as usize];
        let content = chance::content(number.into(), 200_000);
        grid.operations.put(&mut grid.world, client, content.into(), KeyChoice::Random, true);
    }
    assert!(grid.finish_operations(Duration::from_secs(3_600)), "{:?}", grid.operations.list_under_way());
    for (number, file) in grid.operations.files().to_vec().iter().enumerate() {
        let client = grid.clients[(number + 1) % clients as usize];
        grid.operations.get(&mut grid.world, client, file, 0..200_000);
    }
    assert!(grid.finish_operations(Duration::from_secs(3_600)), "{:?}", grid.operations.list_under_way());
    assert_eq!(grid.operations.violations(), [""; 0]);
    assert_eq!(grid.operations.files().len(), files as usize, "every file was stored");
    let (seconds, entries) = (began.0.elapsed().as_secs_f64(), grid.world.trace().entries() - began.1);
    println!(
        "{files} files put and got in {seconds:.1} s, {:.0} events and actions a second",
        entries as f64 / seconds
    );
    println!("{} MB in all", resident() / 1_000_000);
}

/// Bytes of memory that the program has; 0 where the system does not tell.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0) * 4096
}
