//! Stops the taking of messages while too many are parked.

use std::time::Duration;

use mamey_core::message::ContextName;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct ParkingLimit {
    messages_max: u64,
    is_full: bool,
    next_count: Instant,
}

impl ParkingLimit {
    pub(super) const fn new(messages_max: u64, now: Instant) -> Self {
        Self { messages_max, is_full: false, next_count: now }
    }

    /// Whether so many messages are parked that none is taken.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether to count the parked messages now; if so, they are counted again after `poll`.
    pub(super) fn begin_count(&mut self, now: Instant, poll: Duration) -> bool {
        let due = now >= self.next_count;
        if due {
            self.next_count = now + poll;
        }
        due
    }

    /// Applies a count, and logs when the limit is reached or no longer is.
    pub(super) fn counted(&mut self, context: &ContextName, parked: u64) {
        let is_full = parked >= self.messages_max;
        match (std::mem::replace(&mut self.is_full, is_full), is_full) {
            (false, true) => tracing::error!(
                %context, parked,
                "too many messages are parked (`parked_messages_max`): nothing is taken from the \
                 transport until there are fewer"
            ),
            (true, false) => {
                tracing::info!(%context, parked, "messages are taken from the transport again");
            }
            _ => {}
        }
    }
}
