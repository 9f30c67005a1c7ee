//! What a grid costs: processor time and memory of its processes, as the system accounts for them.

use crate::Grid;
use std::fs;

/// Clock ticks of `/proc/PID/stat` in a second; fixed on Linux.
const TICKS: f64 = 100.0;

/// Processor seconds that a process has used so far.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime are the 14th and 15th field; the name in brackets takes up the first two.
    (ticks(11) + ticks(12)) / TICKS
}

/// The most memory that a process has had since its peak was reset, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    status(pid, "VmHWM:") * 1024
}

/// The memory that a process has now, in bytes.
pub fn memory(pid: u32) -> u64 {
    status(pid, "VmRSS:") * 1024
}

/// The threads of a process.
pub fn threads(pid: u32) -> u64 {
    status(pid, "Threads:")
}

/// The number in a line of `/proc/PID/status`.
fn status(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Forgets the peak so far.
pub fn reset_peak(pid: u32) {
    // Not permitted everywhere; then the peak is that since the start, which is no less strict.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

impl Grid {
    /// The gateway and the servers `s0` to `s9`.
    pub fn pids(&self) -> Vec<u32> {
        let servers = (0..10).map(|index| self.pid(&format!("s{index}")));
        std::iter::once(self.pid("gw")).chain(servers).collect()
    }

    /// Processor seconds of gateway and servers together.
    pub fn cpu_seconds(&self) -> f64 {
        self.pids().into_iter().map(cpu_seconds).sum()
    }
}
