//! The secrets of the leases on one file's shares.

use crate::hash;
use crate::identity::TubId;
use crate::mutants::{self, Mutant};
use crate::secret::LeaseSecret;
use crate::storage_index::StorageIndex;

/// What the lease secrets of a file on all servers are made from. What one server learns is of no
/// use at another.
#[derive(Clone, Debug)]
pub(crate) struct LeaseSecrets {
    renewal: LeaseSecret,
    cancel: LeaseSecret,
}

impl LeaseSecrets {
    /// `master` is the node's; as the peer derives them.
    pub(crate) fn new(master: &LeaseSecret, storage_index: &StorageIndex) -> LeaseSecrets {
        LeaseSecrets {
            renewal: hash::file_renewal_secret(&hash::client_renewal_secret(master), storage_index),
            cancel: hash::file_cancel_secret(&hash::client_cancel_secret(master), storage_index),
        }
    }

    /// The secrets for one server: to renew a lease, and to cancel it.
    pub(crate) fn of(&self, tub_id: &TubId) -> (LeaseSecret, LeaseSecret) {
        let tub_id = if mutants::is_in(Mutant::LeaseSecretsShared) { &TubId([0; 20]) } else { tub_id };
        (
            hash::bucket_renewal_secret(&self.renewal, &tub_id.0),
            hash::bucket_cancel_secret(&self.cancel, &tub_id.0),
        )
    }
}
