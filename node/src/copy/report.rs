//! What a copy has done so far, shown as it goes and summed up at its end.

use crate::drive::cap::without_capabilities;
use crate::exit::{Failed, Failure, failed};
use crate::output::print;
use anyhow::Result;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(5);
/// Failures that are listed; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// Counts, tells, and sums up. Shared by all workers.
pub(crate) struct Report {
    quiet: bool,
    bar: Option<ProgressBar>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    files_found: u64,
    bytes_found: u64,
    bytes_moved: u64,
    copied: u64,
    bytes_copied: u64,
    linked: u64,
    kept: u64,
    made: u64,
    skipped: u64,
    failed: u64,
    failures: Vec<String>,
    /// The kind of all failures so far, if they are of one.
    failure: Option<Failure>,
    hopeless: bool,
    last_line: Option<Instant>,
}

impl Report {
    pub(crate) fn new(quiet: bool) -> Report {
        let bar = (std::io::stderr().is_terminal() && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
            let style = ProgressStyle::with_template(template).expect("the template is a constant");
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Report { quiet, bar, counts: Mutex::default() }
    }

    /// A file is to be looked at.
    pub(crate) fn found(&self, bytes: u64) {
        self.count(|counts| {
            counts.files_found += 1;
            counts.bytes_found += bytes;
        });
    }

    /// Bytes are on the other side, or on their way.
    pub(crate) fn moved(&self, bytes: u64) {
        self.count(|counts| counts.bytes_moved += bytes);
    }

    /// Files have been copied and can be found.
    pub(crate) fn copied(&self, files: u64, bytes: u64) {
        self.count(|counts| {
            counts.copied += files;
            counts.bytes_copied += bytes;
        });
    }

    /// Files have been linked.
    pub(crate) fn linked(&self, files: u64) {
        self.count(|counts| counts.linked += files);
    }

    /// A file was there already; its bytes need not be moved.
    pub(crate) fn kept(&self, bytes: u64) {
        self.count(|counts| {
            counts.kept += 1;
            counts.bytes_found = counts.bytes_found.saturating_sub(bytes);
        });
    }

    /// A directory has been made.
    pub(crate) fn made(&self) {
        self.count(|counts| counts.made += 1);
    }

    /// Something is left out that cannot be copied by its nature.
    pub(crate) fn skipped(&self, what: &str, why: &str) {
        self.count(|counts| counts.skipped += 1);
        if !self.quiet {
            self.say(&format!("skipped: {what}: {why}"));
        }
    }

    /// Something could not be copied.
    pub(crate) fn failed(&self, what: &str, error: &anyhow::Error) {
        self.failed_many(1, what, error);
    }

    /// So many files could not be copied for one reason.
    pub(crate) fn failed_many(&self, files: u64, what: &str, error: &anyhow::Error) {
        let failure = error.downcast_ref::<Failed>().map_or(Failure::General, |failed| failed.failure);
        if failure == Failure::Interrupted {
            return;
        }
        self.count(|counts| {
            counts.failure = match counts.failure {
                None => Some(failure),
                Some(other) if other == failure => Some(failure),
                Some(_) => Some(Failure::General),
            };
            counts.failed += files;
            counts.hopeless |= failure == Failure::NoNode;
            if counts.failures.len() < LISTED_MAX {
                counts.failures.push(format!("{what}: {}", without_capabilities(&format!("{error:#}"))));
            }
        });
    }

    /// Whether there is no sense in going on.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.lock().hopeless
    }

    /// Whether nothing has failed so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.lock().failed == 0
    }

    /// Ends the display, tells the failures and the sum; an error if there was any failure.
    pub(crate) fn finish(&self, interrupted: bool) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let counts = self.lock();
        for failure in &counts.failures {
            eprintln!("failed: {failure}");
        }
        if counts.failed > counts.failures.len() as u64 {
            eprintln!("failed: {} in all", counts.failed);
        }
        let told = if self.quiet { Ok(()) } else { print(&counts.sum()) };
        if interrupted {
            return Err(failed(
                Failure::Interrupted,
                "interrupted; run the same command again to do what is left",
            ));
        }
        match counts.failure {
            None => told,
            Some(failure) => {
                let hint = if counts.hopeless { "the node does not answer any more; " } else { "" };
                let text = format!(
                    "{hint}{} could not be copied; run the same command again to try what is left",
                    numbered(counts.failed, "file or directory", "files or directories")
                );
                Err(failed(failure, text))
            }
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.lock();
        change(&mut counts);
        let done = counts.copied + counts.linked + counts.kept + counts.failed;
        if let Some(bar) = &self.bar {
            bar.set_length(counts.bytes_found);
            bar.set_position(counts.bytes_moved);
            bar.set_message(format!("{done}/{} files", counts.files_found));
        } else if !self.quiet {
            let last = *counts.last_line.get_or_insert_with(Instant::now);
            if last.elapsed() >= LINE_EVERY {
                counts.last_line = Some(Instant::now());
                eprintln!(
                    "{done} of {} files, {} of {}",
                    counts.files_found,
                    HumanBytes(counts.bytes_moved),
                    HumanBytes(counts.bytes_found)
                );
            }
        }
    }

    /// A line that stays.
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Counts {
    fn sum(&self) -> String {
        let mut parts = vec![format!(
            "copied {} ({})",
            numbered(self.copied, "file", "files"),
            HumanBytes(self.bytes_copied)
        )];
        let mut part = |count: u64, text: String| {
            if count > 0 {
                parts.push(text);
            }
        };
        part(self.linked, format!("linked {}", self.linked));
        part(self.kept, format!("{} there already", self.kept));
        part(self.made, format!("made {}", numbered(self.made, "directory", "directories")));
        part(self.skipped, format!("skipped {}", self.skipped));
        part(self.failed, format!("{} failed", self.failed));
        parts.join(", ")
    }
}

fn numbered(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn code(failures: &[Failure]) -> Option<Failure> {
        let report = Report::new(true);
        for failure in failures {
            report.failed("x", &failed(*failure, "because"));
        }
        let error = report.finish(false).err()?;
        Some(error.downcast_ref::<Failed>().expect("an error with a code").failure)
    }

    #[test]
    fn the_exit_code_tells_of_every_failure() {
        assert_eq!(code(&[]), None);
        assert_eq!(code(&[Failure::Grid, Failure::Grid]), Some(Failure::Grid));
        assert_eq!(code(&[Failure::Grid, Failure::Usage]), Some(Failure::General));
        assert_eq!(code(&[Failure::Grid, Failure::Usage, Failure::Grid]), Some(Failure::General));
        let report = Report::new(true);
        report.failed("x", &anyhow!("URI:DIR2:abc:def is gone"));
        assert!(!report.is_hopeless());
        assert_eq!(report.lock().failures, ["x: URI:... is gone"]);
        report.failed("y", &failed(Failure::NoNode, "gone"));
        assert!(report.is_hopeless());
    }

    #[test]
    fn sums() {
        let counts = Counts { copied: 1, bytes_copied: 5, kept: 2, failed: 3, ..Counts::default() };
        assert_eq!(counts.sum(), "copied 1 file (5 B), 2 there already, 3 failed");
    }
}
