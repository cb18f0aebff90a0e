//! Remembers which parked messages are being retried, and when to look for due ones.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::HashSet;
use std::time::Duration;

use mamey_core::message::MessageIdentity;
use mamey_core::store::ParkedMessage;
use tokio::time::Instant;

use super::outcome::ConsumeOutcome;

/// How long to gather messages that were parked behind others before looking: most of them are not
/// the first of their lane.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Retries {
    running: HashSet<MessageIdentity>,
    running_max: usize,
    look_at: Instant,
    looking: bool,
    poll: Duration,
}

impl Retries {
    pub(super) fn new(running_max: usize, poll: Duration, now: Instant) -> Self {
        Self { running: HashSet::new(), running_max, look_at: now, looking: false, poll }
    }

    /// When to look for due messages next; `None` while a look is under way or would be useless.
    pub(super) fn look_at(&self) -> Option<Instant> {
        // Half a batch at a time: messages that run are still parked, and would be read again.
        let worthwhile = self.running.len() * 2 <= self.running_max;
        (!self.looking && worthwhile).then_some(self.look_at)
    }

    /// Begins a look, and returns how many messages to ask for: those that run are among them.
    pub(super) fn begin_look(&mut self, now: Instant) -> usize {
        self.looking = true;
        self.look_at = now + self.poll;
        self.running_max + self.running.len()
    }

    /// Ends a look: picks the messages to run from those that are due.
    pub(super) fn end_look(
        &mut self,
        now: Instant,
        due: Vec<ParkedMessage>,
        next_due_in: Option<Duration>,
    ) -> Vec<ParkedMessage> {
        self.looking = false;
        let mut picked = Vec::new();
        for message in due {
            let room = self.running.len() < self.running_max;
            if room && self.running.insert(message.identity) {
                picked.push(message);
            }
        }
        // What is due now was picked, or waits until something that runs has finished.
        if let Some(delay) = next_due_in.filter(|delay| !delay.is_zero()) {
            self.look_within(now, delay);
        }
        picked
    }

    /// A look failed: look again after the usual time.
    pub(super) fn look_failed(&mut self) {
        self.looking = false;
    }

    /// A message is no longer being retried.
    pub(super) fn finished(
        &mut self,
        now: Instant,
        message: MessageIdentity,
        outcome: &ConsumeOutcome,
    ) {
        self.running.remove(&message);
        match outcome {
            ConsumeOutcome::Parked(delay) => self.look_within(now, *delay),
            // The next of its lane is due.
            _ if outcome.leaves_parking() => self.look_within(now, Duration::ZERO),
            // It stays due. Looking at once would run it again and again.
            _ => {}
        }
    }

    /// A delivery was processed: if it was parked, it comes due.
    pub(super) fn delivered(&mut self, now: Instant, outcome: &ConsumeOutcome) {
        match outcome {
            ConsumeOutcome::Parked(delay) => self.look_within(now, *delay),
            ConsumeOutcome::ParkedBehind => self.look_within(now, GATHER),
            _ => {}
        }
    }

    fn look_within(&mut self, now: Instant, delay: Duration) {
        self.look_at = self.look_at.min(now + delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mamey_core::clock::Timestamp;
    use mamey_core::id::MessageId;
    use mamey_core::message::{Envelope, Metadata};
    use mamey_core::store::Failure;

    const POLL: Duration = Duration::from_secs(1);

    fn parked(id: &str) -> ParkedMessage {
        let id = MessageId::from_foreign("orders", id);
        let metadata =
            Metadata::new(id, "orders.order-placed", "orders").with_key(Some("order-1".into()));
        let payload = Bytes::new();
        ParkedMessage::new(Envelope::new(metadata, payload), Failure::waiting())
            .with_attempts(1)
            .with_since(Timestamp::EPOCH)
            .with_due(Timestamp::EPOCH)
    }

    #[test]
    fn a_message_that_runs_is_not_picked_again_until_it_is_finished() {
        let now = Instant::now();
        let mut retries = Retries::new(2, POLL, now);
        assert_eq!(retries.begin_look(now), 2);
        let both = vec![parked("a"), parked("b"), parked("c")];
        assert_eq!(retries.end_look(now, both, None).len(), 2);
        assert_eq!(retries.look_at(), None, "all that may run do");
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled);
        assert_eq!(retries.look_at(), Some(now), "its lane's next is due");
        retries.begin_look(now);
        let picked = retries.end_look(now, vec![parked("b"), parked("c")], None);
        assert_eq!(picked, [parked("c")]);
    }

    #[test]
    fn the_next_look_is_when_the_next_message_is_due_and_no_later_than_the_poll() {
        let now = Instant::now();
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now);
        assert_eq!(retries.look_at(), None, "one look at a time");
        retries.end_look(now, Vec::new(), Some(POLL * 5));
        assert_eq!(retries.look_at(), Some(now + POLL));
        // Parked while a look was under way, so the look did not see it.
        retries.begin_look(now);
        retries.delivered(now, &ConsumeOutcome::Parked(POLL / 4));
        retries.end_look(now, Vec::new(), Some(POLL / 2));
        assert_eq!(retries.look_at(), Some(now + POLL / 4));
    }

    #[test]
    fn a_message_that_stays_parked_does_not_run_again_before_the_next_poll() {
        let now = Instant::now();
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now);
        retries.end_look(now, vec![parked("a")], Some(Duration::ZERO));
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Returned);
        assert_eq!(retries.look_at(), Some(now + POLL));
    }
}
