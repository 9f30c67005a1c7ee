//! What the node does for its owner, and has done lately.

use super::Frame;
use super::figures::{Moment, size, span};
use askama::Template;
use std::time::Duration;
use tallac_core::node::{Activity, Entry, Stage, Standing};
use tallac_core::time::Now;

/// Uploads, downloads and publishes, under way and lately.
#[derive(Template)]
#[template(path = "activity.html")]
pub(crate) struct Activities {
    pub(crate) frame: Frame,
    /// Whether readings of directories and searches are shown, too.
    pub(crate) all: bool,
    pub(crate) active: Vec<Line>,
    pub(crate) recent: Vec<Line>,
}

/// An operation.
pub(crate) struct Line {
    number: u64,
    kind: &'static str,
    class: &'static str,
    index: String,
    begun: Option<Moment>,
    size: String,
    /// In percent, if the size is known.
    percent: Option<u64>,
    done: String,
    speed: String,
    took: String,
    standing: &'static str,
    /// Each with its time.
    stages: Vec<(&'static str, String)>,
    remark: String,
}

/// Whether somebody who looks for files wants to see it.
pub(crate) fn is_of_files(entry: &Entry) -> bool {
    matches!(entry.activity, Activity::Upload | Activity::Download | Activity::Publish)
}

impl Line {
    pub(crate) fn new(entry: &Entry, now: Now) -> Line {
        let took = entry.took.unwrap_or_else(|| now.instant.since(entry.begun_at));
        let finished = entry.standing == Standing::Finished;
        let percent = entry.size.map(|size| match size {
            _ if finished => 100,
            0 => 0,
            size => (entry.done.min(size) as u128 * 100 / u128::from(size)) as u64,
        });
        let speed = entry.done as f64 / took.as_secs_f64().max(0.001);
        // A mutable file is stored in one go: what that takes is the servers' answers, not its bytes.
        let flows = entry.activity != Activity::Publish && entry.done > 0;
        let shows_speed = flows && took > Duration::from_millis(20);
        Line {
            number: entry.number,
            kind: match entry.activity {
                Activity::Upload => "Upload",
                Activity::Download => "Download",
                Activity::Publish => "Change of a folder or mutable file",
                Activity::Retrieve => "Reading of a folder or mutable file",
                Activity::Mapupdate => "Search for the newest version of a folder or mutable file",
            },
            class: match entry.standing {
                Standing::Active | Standing::Cancelled => "",
                Standing::Finished => "good",
                Standing::Failed => "bad",
            },
            index: entry.storage_index.map(|index| index.to_string()).unwrap_or_default(),
            begun: Moment::at(entry.begun.0 as f64),
            size: entry.size.map(size).unwrap_or_default(),
            percent,
            done: size(entry.done),
            speed: if shows_speed { format!("{}/s", size(speed as u64)) } else { String::new() },
            took: span(took),
            standing: match entry.standing {
                Standing::Active => "under way",
                Standing::Finished => "done",
                Standing::Failed => "failed",
                Standing::Cancelled => "given up",
            },
            stages: stages(entry, took),
            remark: super::shown(&entry.remark),
        }
    }
}

/// Each stage ends when the next begins.
fn stages(entry: &Entry, took: Duration) -> Vec<(&'static str, String)> {
    let ends = entry.stages.iter().skip(1).map(|(_, began)| *began).chain([took]);
    (entry.stages.iter().zip(ends))
        .map(|((stage, began), end)| (name(*stage), short_span(end.saturating_sub(*began))))
        .collect()
}

fn short_span(time: Duration) -> String {
    if time < Duration::from_millis(1) { "<1 ms".into() } else { span(time) }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Receiving => "receiving and hashing",
        Stage::Asking => "asking servers",
        Stage::Sending => "sending",
        Stage::Closing => "making it durable",
        Stage::Fetching => "fetching",
        Stage::Keys => "making keys",
        Stage::Queued => "waiting for its turn",
        Stage::Making => "encoding and sealing",
        Stage::Writing => "writing",
        Stage::Yielding => "letting another writer finish",
        Stage::Beaten => "another writer was faster",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallac_core::time::{Instant, UnixTime};

    fn entry(standing: Standing, size: Option<u64>, done: u64) -> Entry {
        let ms = Duration::from_millis;
        Entry {
            number: 1,
            activity: Activity::Upload,
            storage_index: None,
            size,
            done,
            begun: UnixTime(1_700_000_000),
            begun_at: Instant::ZERO,
            prepared: None,
            stages: vec![(Stage::Receiving, ms(0)), (Stage::Asking, ms(200)), (Stage::Sending, ms(350))],
            took: (standing != Standing::Active).then_some(ms(2_350)),
            remark: String::new(),
            standing,
        }
    }

    #[test]
    fn every_stage_has_its_time() {
        let line = Line::new(&entry(Standing::Finished, Some(10), 10), Now::default());
        let expected =
            [("receiving and hashing", "200 ms"), ("asking servers", "150 ms"), ("sending", "2.0 s")];
        assert_eq!(line.stages, expected.map(|(name, time)| (name, time.to_owned())));
        assert_eq!((line.percent, &*line.took), (Some(100), "2.4 s"));
    }

    #[test]
    fn progress_is_never_beyond_its_end() {
        for (size, done, percent) in [
            (Some(0), 0, Some(0)),
            (Some(3), 9, Some(100)),
            (Some(u64::MAX), 1 << 63, Some(50)),
            (None, 5, None),
        ] {
            let line = Line::new(&entry(Standing::Active, size, done), Now::default());
            assert_eq!(line.percent, percent, "{size:?} {done}");
        }
    }
}
