//! How true a run is to the bytes.

use serde::{Deserialize, Serialize};

/// How true a run is to the bytes. The machines are the same, and so is all that they decide: when
/// what comes to pass does not depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Fidelity {
    /// Real encryption, coding and hashes; frames and disks hold bytes.
    #[default]
    Bytes,
    /// Content is seeds and lengths ([`crate::stand_in`]); the network moves whole frames, and disks keep
    /// pieces of stand-ins. For large grids.
    Protocol,
}
