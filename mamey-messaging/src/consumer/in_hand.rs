//! A delivery that is being processed: its message, where that is stored, and the duty to settle it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use mamey_core::inbound::Custody;
use mamey_core::message::Envelope;
use mamey_core::store::Origin;
use mamey_core::transport::{Delivery, Unsettled};

/// A delivery that is being processed. Its message may be parked meanwhile; then the transport is
/// told at once, and the handler runs on.
pub(super) struct InHand {
    pub(super) envelope: Envelope,
    pub(super) custody: Custody,
    /// The run that has begun last, counted from 1.
    attempt: AtomicU32,
    unsettled: Mutex<Option<Unsettled>>,
}

impl InHand {
    pub(super) fn new(delivery: Delivery) -> Self {
        let delivery = mamey_core::inject_fault!(
            "ack-before-commit",
            mamey_core::failpoint::acknowledged(delivery),
            delivery
        );
        let (envelope, unsettled) = delivery.into_parts();
        Self {
            envelope,
            custody: Custody::new(Origin::Delivery),
            attempt: AtomicU32::new(0),
            unsettled: Mutex::new(Some(unsettled)),
        }
    }

    /// The duty to settle the delivery, for the first who asks.
    pub(super) fn take_unsettled(&self) -> Option<Unsettled> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn begin_attempt(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }
}
