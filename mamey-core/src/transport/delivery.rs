//! A received message that waits to be settled.

use std::fmt;

use super::rejected::RejectReason;
use crate::message::Envelope;

/// What becomes of a received message.
///
/// Exhaustive: a transport that did not apply one of them would lose messages or deliver them twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Committed, parked or dead-lettered in the store: never deliver it again.
    Ack,
    /// Not handled: deliver it again, in the same order.
    Return,
    /// The store cannot keep it: a durable transport moves it to its own dead letters, any other
    /// fails its publish, so that it stays in its sender's outbox.
    Reject {
        /// Why.
        reason: RejectReason,
        /// Why, for people.
        detail: String,
    },
}

/// How a transport learns what became of a delivery.
pub trait Settle: Send + 'static {
    /// Takes the settlement without blocking: a transport with a server sends settlements in batches.
    fn settle(self: Box<Self>, settlement: Settlement);
}

/// A received message. Dropped without a settlement it is returned, so a panic loses nothing.
pub struct Delivery {
    envelope: Envelope,
    redelivered: bool,
    suspect: bool,
    near_its_limit: bool,
    settle: Option<Box<dyn Settle>>,
}

impl Delivery {
    /// A message and the way to settle it. `redelivered` when it may have been delivered before.
    #[must_use]
    pub fn new(envelope: Envelope, redelivered: bool, settle: Box<dyn Settle>) -> Self {
        let settle = Some(settle);
        Self { envelope, redelivered, suspect: false, near_its_limit: false, settle }
    }

    /// Says whether it was [published as a suspect](super::Publisher::publish_suspect).
    #[must_use]
    pub const fn suspect(mut self, suspect: bool) -> Self {
        self.suspect = suspect;
        self
    }

    /// Says whether the transport has delivered it so often that it will soon give it up: then the
    /// consumer parks it instead of handling it, or rejects it if its store keeps nothing beyond the
    /// process.
    #[must_use]
    pub const fn near_its_limit(mut self, near: bool) -> Self {
        self.near_its_limit = near;
        self
    }

    /// The message.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub const fn is_redelivered(&self) -> bool {
        self.redelivered
    }

    /// Whether an instance may have been handling it when that ended. The consumer then records each
    /// attempt before it begins.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Whether the transport will soon stop delivering it.
    #[must_use]
    pub const fn is_near_its_limit(&self) -> bool {
        self.near_its_limit
    }

    /// Tells the transport what became of it.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(settle) = self.settle.take() {
            settle.settle(settlement);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.settle(Settlement::Return);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("metadata", &self.envelope.metadata)
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}
