//! Progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a transfer is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    quiet: bool,
    total: Option<u64>,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: Option<u64>, quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
            let template = match total {
                Some(_) => "{msg:10} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
                None => "{msg:10} {spinner} {bytes} {bytes_per_sec}",
            };
            let style = ProgressStyle::with_template(template).expect("the template is a constant");
            bar.set_style(style.progress_chars("=> "));
            bar.set_message(what);
            bar
        });
        let now = Instant::now();
        Progress { bar, what, quiet, total, started: now, last_line: now }
    }

    /// Changes what is said to go on.
    pub(crate) fn stage(&mut self, what: &'static str) {
        self.what = what;
        if let Some(bar) = &self.bar {
            bar.set_message(what);
        }
    }

    pub(crate) fn at(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if !self.quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let seconds = self.started.elapsed().as_secs_f64().max(0.001);
            let rate = HumanBytes((done as f64 / seconds) as u64);
            match self.total {
                Some(total) if total > 0 => eprintln!(
                    "{}: {} of {} ({}%), {rate}/s",
                    self.what,
                    HumanBytes(done),
                    HumanBytes(total),
                    done * 100 / total
                ),
                _ => eprintln!("{}: {}, {rate}/s", self.what, HumanBytes(done)),
            }
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if !self.quiet => eprintln!("{text}"),
            None => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
