//! Sizes and times as people read them.

use jiff::Timestamp;
use std::time::Duration;

/// A number of bytes, with three figures and a unit of 1,000.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// How long something takes or has lasted.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A moment in UTC: for people, and for scripts that know the reader's time zone.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    pub(crate) shown: String,
    pub(crate) exact: String,
}

impl Moment {
    /// The moment that many seconds after 1970. Nothing for what no calendar has.
    pub(crate) fn at(seconds: f64) -> Option<Moment> {
        if !seconds.is_finite() || seconds.abs() > 1e12 {
            return None;
        }
        let at = Timestamp::from_second(seconds as i64).ok()?;
        Some(Moment { shown: at.strftime("%Y-%m-%d %H:%M").to_string(), exact: at.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_figures() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn spans() {
        for (ms, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (59_900, "59 s"),
            (120_000, "2 minutes"),
            (7_200_000, "2 hours"),
            (400_000_000, "4 days"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), shown);
        }
    }

    #[test]
    fn moments_of_anybodys_making() {
        let moment = Moment::at(1_700_000_000.5).unwrap();
        assert_eq!((&*moment.shown, &*moment.exact), ("2023-11-14 22:13", "2023-11-14T22:13:20Z"));
        for bad in [f64::NAN, f64::INFINITY, 1e300, -1e11 * 9.0] {
            assert_eq!(Moment::at(bad), None, "{bad}");
        }
    }
}
