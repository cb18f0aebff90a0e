//! Stops the taking of messages while too many are parked, and leaves room for those that fail.

use std::time::Duration;

use mamey_core::message::ContextName;
use tokio::time::Instant;

use super::outcome::ConsumeOutcome;

/// Messages that are slow and not failed may fill this fraction of the parking.
const PARKINGS_OF_SLOW: u64 = 2;

#[derive(Debug)]
pub(super) struct ParkingLimit {
    messages_max: u64,
    /// How many were counted last, and those that were parked here since.
    parked: u64,
    is_full: bool,
    next_count: Instant,
}

impl ParkingLimit {
    pub(super) const fn new(messages_max: u64, now: Instant) -> Self {
        Self { messages_max, parked: 0, is_full: false, next_count: now }
    }

    /// Whether so many messages are parked that none is taken.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether messages may be parked only because they are slow.
    pub(super) const fn has_room_for_slow(&self) -> bool {
        self.parked < self.messages_max / PARKINGS_OF_SLOW
    }

    /// A delivery was processed: it may have been parked.
    pub(super) const fn delivered(&mut self, outcome: &ConsumeOutcome) {
        if outcome.parks() {
            self.added();
        }
    }

    /// A message was parked.
    pub(super) const fn added(&mut self) {
        self.parked = self.parked.saturating_add(1);
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
        self.parked = parked;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_room_is_kept_for_messages_that_fail() {
        let (now, context) = (Instant::now(), ContextName::new("orders").unwrap());
        let mut limit = ParkingLimit::new(6, now);
        limit.counted(&context, 1);
        limit.delivered(&ConsumeOutcome::ParkedBehind);
        limit.delivered(&ConsumeOutcome::Handled);
        assert!(limit.has_room_for_slow());
        limit.added();
        assert!(!limit.has_room_for_slow() && !limit.is_full());
        limit.counted(&context, 6);
        assert!(limit.is_full());
        limit.counted(&context, 2);
        assert!(limit.has_room_for_slow() && !limit.is_full());
    }
}
