//! How plans are written in scripts, where their types alone do not say it.

use core::time::Duration;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tallac_core::capability::MutableFormat;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;

/// The longest duration in a script, in seconds: thirty days. Up to there nanoseconds survive being written.
const SECONDS_MAX: f64 = 30.0 * 86_400.0;

fn duration<E: Error>(seconds: f64) -> Result<Duration, E> {
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(E::custom(format!("{seconds} is no time in seconds, from 0 to {SECONDS_MAX}")));
    }
    // Rounded here, because the nearest number to so many nanoseconds may lie a little below.
    let whole = seconds.trunc();
    Ok(Duration::from_secs(whole as u64) + Duration::from_nanos(((seconds - whole) * 1e9).round() as u64))
}

/// A duration as seconds.
pub(crate) mod seconds {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        duration.as_secs_f64().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        duration(f64::deserialize(from)?)
    }
}

/// Things that happen at times, as pairs of seconds and what happens.
pub(crate) mod timed {
    use super::*;

    pub(crate) fn serialize<S: Serializer, T: Serialize>(
        list: &[(Duration, T)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(|(at, what)| (at.as_secs_f64(), what)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        from: D,
    ) -> Result<Vec<(Duration, T)>, D::Error> {
        let list = Vec::<(f64, T)>::deserialize(from)?;
        list.into_iter().map(|(at, what)| Ok((duration(at)?, what))).collect()
    }
}

/// k, N and the segment size.
pub(crate) mod encoding {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Encoding", deny_unknown_fields)]
    struct Form {
        needed: u16,
        total: u16,
        segment: u32,
    }

    pub(crate) fn serialize<S: Serializer>(params: &EncodingParams, to: S) -> Result<S::Ok, S::Error> {
        let (needed, total, segment) = (params.needed(), params.total(), params.max_segment_size());
        Form { needed, total, segment }.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EncodingParams, D::Error> {
        let Form { needed, total, segment } = Form::deserialize(from)?;
        EncodingParams::new(needed, total, segment).map_err(D::Error::custom)
    }
}

/// How the shares of a mutable file are laid out.
#[derive(Serialize, Deserialize)]
#[serde(remote = "MutableFormat", rename = "MutableFormat")]
pub(crate) enum MutableFormatForm {
    Sdmf,
    Mdmf,
}

/// How the key of a file comes about.
#[derive(Serialize, Deserialize)]
#[serde(remote = "KeyChoice", rename = "KeyChoice")]
pub(crate) enum KeyChoiceForm {
    Convergent,
    Random,
}
