//! Remembers which parked messages are being handled, and when to look for due ones.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mamey_core::message::MessageIdentity;
use mamey_core::store::ParkedMessage;
use tokio::time::Instant;

use super::outcome::ConsumeOutcome;
use super::slots::Slots;

/// How long to gather messages that were parked behind others before looking: most of them are not
/// the first of their lane.
const GATHER: Duration = Duration::from_millis(20);

/// Messages that failed are retried in places of their own, so that they take none from new ones.
/// Parked messages that had no run yet, because they were slow or came behind others, are handled in
/// the places of new ones too.
#[derive(Debug)]
pub(super) struct Retries {
    running: HashMap<MessageIdentity, Place>,
    /// Those that have finished during the look that is under way, which may have seen them before.
    finished: HashSet<MessageIdentity>,
    /// The places of retries.
    places: Slots,
    places_max: usize,
    /// Whether the last look found messages without a run, so that the places of new ones count.
    finds_unrun: bool,
    /// Whether it left some of them.
    leaves_unrun: bool,
    look_at: Instant,
    looking: Option<usize>,
    poll: Duration,
}

/// Which place a parked message is handled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Retry,
    New,
    /// That of the delivery as which it came: it was parked while its handler ran.
    Delivery,
}

impl Retries {
    pub(super) fn new(places_max: usize, poll: Duration, now: Instant) -> Self {
        Self {
            running: HashMap::new(),
            finished: HashSet::new(),
            places: Slots::new(places_max),
            places_max,
            finds_unrun: false,
            leaves_unrun: false,
            look_at: now,
            looking: None,
            poll,
        }
    }

    /// When to look for due messages next; `None` while a look is under way or would be useless.
    pub(super) fn look_at(&self, new: &Slots) -> Option<Instant> {
        // Half a batch at a time: messages that run are still parked, and would be read again.
        let worthwhile = self.free(new) * 2 >= self.places_max;
        (self.looking.is_none() && worthwhile).then_some(self.look_at)
    }

    fn free(&self, new: &Slots) -> usize {
        self.places.free() + if self.finds_unrun { new.free() } else { 0 }
    }

    /// Begins a look, and returns how many messages to ask for: those that run are among them.
    pub(super) fn begin_look(&mut self, now: Instant, new: &Slots) -> usize {
        let limit = self.free(new) + self.running.len();
        self.looking = Some(limit);
        self.finished.clear();
        self.look_at = now + self.poll;
        limit
    }

    /// Ends a look: picks the messages to run from those that are due.
    pub(super) fn end_look(
        &mut self,
        now: Instant,
        due: Vec<ParkedMessage>,
        next_due_in: Option<Duration>,
        new: &mut Slots,
    ) -> Vec<ParkedMessage> {
        let limit = self.looking.take().unwrap_or_default();
        let is_full = due.len() >= limit;
        (self.finds_unrun, self.leaves_unrun) = (false, false);
        let mut picked = Vec::new();
        for message in due {
            let identity = &message.identity;
            if self.running.contains_key(identity) || self.finished.contains(identity) {
                continue;
            }
            let is_unrun = message.attempts == 0;
            self.finds_unrun |= is_unrun;
            let place = match is_unrun {
                true if new.take() => Place::New,
                _ if self.places.take() => Place::Retry,
                _ => {
                    self.leaves_unrun |= is_unrun;
                    continue;
                }
            };
            self.running.insert(message.identity, place);
            picked.push(message);
        }
        self.leaves_unrun |= is_full && self.finds_unrun;
        // What is due now was picked, or waits until something that runs has finished.
        if let Some(delay) = next_due_in.filter(|delay| !delay.is_zero()) {
            self.look_within(now, delay);
        }
        if self.leaves_unrun && new.free() > 0 {
            self.look_within(now, Duration::ZERO);
        }
        picked
    }

    /// Whether the last look left nothing that is due and had no run, and new messages have places.
    pub(super) const fn has_caught_up(&self, new: &Slots) -> bool {
        !self.leaves_unrun && new.free() > 0
    }

    /// A look failed: look again after the usual time.
    pub(super) fn look_failed(&mut self) {
        self.looking = None;
    }

    /// A message was parked while its handler runs.
    pub(super) fn runs_already(&mut self, message: MessageIdentity) {
        self.running.insert(message, Place::Delivery);
    }

    /// A message is no longer being handled.
    pub(super) fn finished(
        &mut self,
        now: Instant,
        message: MessageIdentity,
        outcome: &ConsumeOutcome,
        new: &mut Slots,
    ) {
        match self.running.remove(&message) {
            Some(Place::Retry) => self.places.give_back(),
            Some(Place::New) => new.give_back(),
            Some(Place::Delivery) | None => {}
        }
        if self.looking.is_some() {
            self.finished.insert(message);
        }
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

    fn unrun(id: &str) -> ParkedMessage {
        parked(id).with_attempts(0)
    }

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
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        assert_eq!(retries.begin_look(now, &new), 2);
        let three = vec![parked("a"), parked("b"), parked("c")];
        assert_eq!(retries.end_look(now, three, None, &mut new).len(), 2);
        assert_eq!(retries.look_at(&new), None, "all that may run do");
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!(retries.look_at(&new), Some(now), "its lane's next is due");
        retries.begin_look(now, &new);
        let picked = retries.end_look(now, vec![parked("b"), parked("c")], None, &mut new);
        assert_eq!((picked, new.free()), (vec![parked("c")], 8));
    }

    #[test]
    fn a_message_that_finished_during_a_look_is_not_picked_from_it() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now, &new);
        retries.end_look(now, vec![parked("a")], None, &mut new);
        retries.begin_look(now, &new);
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled, &mut new);
        let picked = retries.end_look(now, vec![parked("a"), parked("b")], None, &mut new);
        assert_eq!(picked, [parked("b")]);
        retries.begin_look(now, &new);
        let picked = retries.end_look(now, vec![parked("a")], None, &mut new);
        assert_eq!(picked, [parked("a")], "it was parked again");
    }

    #[test]
    fn the_next_look_is_when_the_next_message_is_due_and_no_later_than_the_poll() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now, &new);
        assert_eq!(retries.look_at(&new), None, "one look at a time");
        retries.end_look(now, Vec::new(), Some(POLL * 5), &mut new);
        assert_eq!(retries.look_at(&new), Some(now + POLL));
        // Parked while a look was under way, so the look did not see it.
        retries.begin_look(now, &new);
        retries.delivered(now, &ConsumeOutcome::Parked(POLL / 4));
        retries.end_look(now, Vec::new(), Some(POLL / 2), &mut new);
        assert_eq!(retries.look_at(&new), Some(now + POLL / 4));
    }

    #[test]
    fn a_message_that_stays_parked_does_not_run_again_before_the_next_poll() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now, &new);
        retries.end_look(now, vec![parked("a")], Some(Duration::ZERO), &mut new);
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Returned, &mut new);
        assert_eq!(retries.look_at(&new), Some(now + POLL));
    }

    #[test]
    fn messages_without_a_run_are_handled_in_the_places_of_new_ones_too() {
        let (now, mut new) = (Instant::now(), Slots::new(3));
        assert!(new.take(), "a new message is being handled");
        let mut retries = Retries::new(1, POLL, now);
        assert_eq!(retries.begin_look(now, &new), 1);
        let picked = retries.end_look(now, vec![unrun("a")], None, &mut new);
        assert_eq!((picked.len(), new.free()), (1, 1));
        assert_eq!(retries.look_at(&new), Some(now), "there may be more, and two places are free");
        assert_eq!(retries.begin_look(now, &new), 3);
        let due = vec![unrun("a"), parked("b"), unrun("c"), parked("d"), unrun("e")];
        let picked = retries.end_look(now, due, None, &mut new);
        assert_eq!(picked, [parked("b"), unrun("c")]);
        assert!(!retries.has_caught_up(&new), "one waits");
        retries.finished(now, unrun("a").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!((new.free(), retries.look_at(&new)), (1, Some(now)));
        retries.finished(now, parked("b").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!(new.free(), 1, "its place was one of the retries");
        retries.begin_look(now, &new);
        retries.end_look(now, vec![unrun("c")], None, &mut new);
        assert!(retries.has_caught_up(&new));
    }

    #[test]
    fn a_message_that_was_parked_while_it_runs_takes_no_other_place() {
        let (now, mut new) = (Instant::now(), Slots::new(1));
        let mut retries = Retries::new(1, POLL, now);
        retries.runs_already(parked("a").identity);
        assert_eq!(retries.begin_look(now, &new), 2, "it is among those that are due");
        assert!(retries.end_look(now, vec![parked("a")], None, &mut new).is_empty());
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!((new.free(), retries.look_at(&new)), (1, Some(now)));
    }
}
