//! Remembers which parked messages are being handled, and when to look for due ones.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mamey_core::message::MessageIdentity;
use mamey_core::store::ParkedMessage;
use tokio::time::Instant;

use super::due::{Due, LookFor, begins_first, is_unrun};
use super::outcome::ConsumeOutcome;
use super::slots::Slots;

/// How long to gather messages that were parked behind others, or as suspects, before looking: there are
/// many of them, and most of the former are not the first of their lane.
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
    /// The message that runs alone or is about to, and since when.
    alone: Option<(MessageIdentity, Instant)>,
    /// As long as it has kept the others from running, they have to themselves.
    next_alone: Instant,
    look_at: Instant,
    looking: Option<usize>,
    poll: Duration,
}

/// Which place a parked message is handled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    OfRetries,
    OfNew,
    /// That of the delivery as which it came: it was parked while its handler ran.
    OfItsDelivery,
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
            alone: None,
            next_alone: now,
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

    /// Begins a look, and returns what to look for.
    pub(super) fn begin_look(&mut self, now: Instant, new: &Slots) -> LookFor {
        let limit = self.free(new) + self.running.len();
        self.looking = Some(limit);
        self.finished.clear();
        self.look_at = now + self.poll;
        LookFor {
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            places: self.places.free(),
            new: new.free(),
            running: self.running.keys().copied().collect(),
        }
    }

    /// Ends a look: picks the messages to run from those that are due.
    pub(super) fn end_look(
        &mut self,
        now: Instant,
        due: Vec<Due>,
        next_due_in: Option<Duration>,
        new: &mut Slots,
    ) -> Vec<Due> {
        let limit = self.looking.take().unwrap_or_default();
        let is_full = due.len() >= limit;
        (self.finds_unrun, self.leaves_unrun) = (false, false);
        let mut picked = Vec::new();
        for it in due {
            let (message, identity) = (&it.message, it.message.identity);
            if self.running.contains_key(&identity) || self.finished.contains(&identity) {
                continue;
            }
            let is_unrun = is_unrun(message);
            self.finds_unrun |= is_unrun;
            if begins_first(message) && it.entered.is_none() {
                self.leaves_unrun |= is_unrun;
                continue;
            }
            if !self.may_run(now, message) {
                continue;
            }
            let place = match is_unrun {
                true if new.take() => Place::OfNew,
                _ if self.places.take() => Place::OfRetries,
                _ => {
                    self.leaves_unrun |= is_unrun;
                    continue;
                }
            };
            if it.is_to_run_alone() {
                self.alone = Some((identity, now));
            }
            self.running.insert(identity, place);
            picked.push(it);
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

    /// Whether a message may run now. Of those that are to run alone, one may.
    fn may_run(&mut self, now: Instant, message: &ParkedMessage) -> bool {
        if message.aborts == 0 || message.abandoned {
            return true;
        }
        if self.alone.is_none() && now < self.next_alone {
            self.look_within(now, self.next_alone - now);
        }
        self.alone.is_none() && now >= self.next_alone
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
        self.running.insert(message, Place::OfItsDelivery);
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
            Some(Place::OfRetries) => self.places.give_back(),
            Some(Place::OfNew) => new.give_back(),
            Some(Place::OfItsDelivery) | None => {}
        }
        if self.looking.is_some() {
            self.finished.insert(message);
        }
        if let Some((_, since)) = self.alone.take_if(|(alone, _)| *alone == message) {
            self.next_alone = now + (now - since);
            self.look_within(now, now - since);
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
            ConsumeOutcome::ParkedBehind | ConsumeOutcome::ParkedSuspect => {
                self.look_within(now, GATHER);
            }
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
    use crate::consumer::gate::Gate;
    use bytes::Bytes;
    use futures_util::FutureExt;
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

    /// What is picked of these, of which all have begun that are to.
    fn end_look(
        retries: &mut Retries,
        now: Instant,
        due: Vec<ParkedMessage>,
        next_due_in: Option<Duration>,
        new: &mut Slots,
    ) -> Vec<ParkedMessage> {
        static OPEN: Gate = Gate::new();
        let begin = |message: ParkedMessage| {
            let begins = begins_first(&message).then(|| OPEN.enter().now_or_never());
            Due { message, entered: begins.flatten() }
        };
        let due = due.into_iter().map(begin).collect();
        let picked = retries.end_look(now, due, next_due_in, new).into_iter();
        picked.map(|due| due.message).collect()
    }

    #[test]
    fn a_message_that_runs_is_not_picked_again_until_it_is_finished() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        assert_eq!(retries.begin_look(now, &new).limit, 2);
        let three = vec![parked("a"), parked("b"), parked("c")];
        assert_eq!(end_look(&mut retries, now, three, None, &mut new).len(), 2);
        assert_eq!(retries.look_at(&new), None, "all that may run do");
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!(retries.look_at(&new), Some(now), "its lane's next is due");
        retries.begin_look(now, &new);
        let picked = end_look(&mut retries, now, vec![parked("b"), parked("c")], None, &mut new);
        assert_eq!((picked, new.free()), (vec![parked("c")], 8));
    }

    #[test]
    fn a_message_that_finished_during_a_look_is_not_picked_from_it() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now, &new);
        end_look(&mut retries, now, vec![parked("a")], None, &mut new);
        retries.begin_look(now, &new);
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled, &mut new);
        let picked = end_look(&mut retries, now, vec![parked("a"), parked("b")], None, &mut new);
        assert_eq!(picked, [parked("b")]);
        retries.begin_look(now, &new);
        let picked = end_look(&mut retries, now, vec![parked("a")], None, &mut new);
        assert_eq!(picked, [parked("a")], "it was parked again");
    }

    #[test]
    fn the_next_look_is_when_the_next_message_is_due_and_no_later_than_the_poll() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now, &new);
        assert_eq!(retries.look_at(&new), None, "one look at a time");
        end_look(&mut retries, now, Vec::new(), Some(POLL * 5), &mut new);
        assert_eq!(retries.look_at(&new), Some(now + POLL));
        // Parked while a look was under way, so the look did not see it.
        retries.begin_look(now, &new);
        retries.delivered(now, &ConsumeOutcome::Parked(POLL / 4));
        end_look(&mut retries, now, Vec::new(), Some(POLL / 2), &mut new);
        assert_eq!(retries.look_at(&new), Some(now + POLL / 4));
    }

    #[test]
    fn a_message_that_stays_parked_does_not_run_again_before_the_next_poll() {
        let (now, mut new) = (Instant::now(), Slots::new(8));
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now, &new);
        end_look(&mut retries, now, vec![parked("a")], Some(Duration::ZERO), &mut new);
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Returned, &mut new);
        assert_eq!(retries.look_at(&new), Some(now + POLL));
    }

    #[test]
    fn messages_without_a_run_are_handled_in_the_places_of_new_ones_too() {
        let (now, mut new) = (Instant::now(), Slots::new(3));
        assert!(new.take(), "a new message is being handled");
        let mut retries = Retries::new(1, POLL, now);
        assert_eq!(retries.begin_look(now, &new).limit, 1);
        let picked = end_look(&mut retries, now, vec![unrun("a")], None, &mut new);
        assert_eq!((picked.len(), new.free()), (1, 1));
        assert_eq!(retries.look_at(&new), Some(now), "there may be more, and two places are free");
        assert_eq!(retries.begin_look(now, &new).limit, 3);
        let due = vec![unrun("a"), parked("b"), unrun("c"), parked("d"), unrun("e")];
        let picked = end_look(&mut retries, now, due, None, &mut new);
        assert_eq!(picked, [parked("b"), unrun("c")]);
        assert!(!retries.has_caught_up(&new), "one waits");
        retries.finished(now, unrun("a").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!((new.free(), retries.look_at(&new)), (1, Some(now)));
        retries.finished(now, parked("b").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!(new.free(), 1, "its place was one of the retries");
        retries.begin_look(now, &new);
        end_look(&mut retries, now, vec![unrun("c")], None, &mut new);
        assert!(retries.has_caught_up(&new));
    }

    #[test]
    fn a_message_that_was_parked_while_it_runs_takes_no_other_place() {
        let (now, mut new) = (Instant::now(), Slots::new(1));
        let mut retries = Retries::new(1, POLL, now);
        retries.runs_already(parked("a").identity);
        assert_eq!(retries.begin_look(now, &new).limit, 2, "it is among those that are due");
        assert!(end_look(&mut retries, now, vec![parked("a")], None, &mut new).is_empty());
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled, &mut new);
        assert_eq!((new.free(), retries.look_at(&new)), (1, Some(now)));
    }

    #[test]
    fn what_begins_is_what_has_a_place_and_is_to_run_beside_others() {
        let (now, new) = (Instant::now(), Slots::new(1));
        let mut retries = Retries::new(2, POLL, now);
        retries.runs_already(parked("a").identity);
        let mut suspect = unrun("f");
        suspect.failure = Failure::suspect();
        let due = [
            parked("a"),
            parked("b").with_aborts(1),
            parked("c").with_abandoned(true),
            unrun("d"),
            unrun("e"),
            suspect.clone(),
            parked("g"),
        ];
        let begun = retries.begin_look(now, &new).to_begin(&due);
        assert_eq!(begun, [unrun("d"), unrun("e"), suspect].map(|message| message.identity));
    }

    #[test]
    fn of_those_that_are_to_run_alone_one_does_and_others_have_as_much_time() {
        let (now, length, mut new) = (Instant::now(), POLL / 10, Slots::new(8));
        let mut retries = Retries::new(4, POLL, now);
        let (a, b) = (parked("a").with_aborts(1), parked("b").with_aborts(2));
        let mut look = |retries: &mut Retries, now, due: &[&ParkedMessage]| {
            let due = due.iter().map(|it| (*it).clone()).collect();
            retries.begin_look(now, &new);
            end_look(retries, now, due, None, &mut new)
        };
        assert_eq!(look(&mut retries, now, &[&parked("c"), &a]), [parked("c"), a.clone()]);
        assert_eq!(look(&mut retries, now, &[&b]), [], "one at a time");
        let gone = parked("d").with_abandoned(true);
        assert_eq!(look(&mut retries, now, &[&gone]), [gone.clone()], "it does not run");
        let end = now + length;
        retries.finished(end, a.identity, &ConsumeOutcome::Handled, &mut Slots::new(8));
        assert_eq!(look(&mut retries, end, &[&b]), [], "the others have their time");
        assert_eq!(retries.look_at(&Slots::new(8)), Some(end + length));
        assert_eq!(look(&mut retries, end + length, &[&b]), [b.clone()]);
    }
}
