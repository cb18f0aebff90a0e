//! Counts what a transport has rejected, by reason.

use std::sync::{Arc, Mutex, PoisonError};

use mamey_core::transport::{RejectReason, RejectedTotals};

/// What a transport has rejected of one context's messages since it was made, by reason. Clones count
/// the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct RejectedStats(Arc<Mutex<RejectedTotals>>);

impl RejectedStats {
    pub(crate) fn count(&self, reason: RejectReason) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(reason);
    }

    pub(crate) fn totals(&self) -> RejectedTotals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
