//! Grids that are large for their memory: a small one of the kind, so that it takes seconds. It is alone in
//! its program, because what is measured is the memory of the whole process.

use tallac_simulator::Fidelity;
use tallac_simulator::size::{self, Size};

/// 20,000 servers, most of which nobody calls.
#[test]
fn an_idle_server_costs_little() {
    let sized = size::run(&Size {
        seed: 1,
        fidelity: Fidelity::Protocol,
        servers: 20_000,
        clients: 20,
        files: 2,
        len: 1_000_000,
        connections: 32,
        down: 100,
    });
    println!("{sized}");
    assert_eq!((sized.wrong.as_slice(), sized.failed, sized.done), (&[][..], 0, (40, 40)));
    assert!(sized.woken < 2_000, "only who is called is there");
    if cfg!(target_os = "linux") {
        // What the system counts comes in pages, and is more for few servers than for many.
        assert!(sized.bytes_per_idle_peer < 1_536, "{} bytes", sized.bytes_per_idle_peer);
        assert!(sized.bytes_per_woken_peer < 8_192, "{} bytes", sized.bytes_per_woken_peer);
        assert!(sized.peak < 200_000_000, "{} bytes", sized.peak);
    }
}
