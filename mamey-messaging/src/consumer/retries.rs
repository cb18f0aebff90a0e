//! Remembers which parked messages are being retried, and when to look for due ones.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::HashSet;
use std::time::Duration;

use mamey_core::message::MessageIdentity;
use mamey_core::store::ParkedMessage;
use tokio::time::Instant;

use super::due::{Due, LookFor};
use super::outcome::ConsumeOutcome;

/// How long to gather messages that were parked behind others, or as suspects, before looking: there are
/// many of them, and most of the former are not the first of their lane.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Retries {
    running: HashSet<MessageIdentity>,
    running_max: usize,
    /// The message that runs alone or is about to, and since when.
    alone: Option<(MessageIdentity, Instant)>,
    /// As long as it has kept the others from running, they have to themselves.
    next_alone: Instant,
    look_at: Instant,
    looking: bool,
    poll: Duration,
}

impl Retries {
    pub(super) fn new(running_max: usize, poll: Duration, now: Instant) -> Self {
        Self {
            running: HashSet::new(),
            running_max,
            alone: None,
            next_alone: now,
            look_at: now,
            looking: false,
            poll,
        }
    }

    /// When to look for due messages next; `None` while a look is under way or would be useless.
    pub(super) fn look_at(&self) -> Option<Instant> {
        // Half a batch at a time: messages that run are still parked, and would be read again.
        let worthwhile = self.running.len() * 2 <= self.running_max;
        (!self.looking && worthwhile).then_some(self.look_at)
    }

    /// Begins a look, and returns what to look for.
    pub(super) fn begin_look(&mut self, now: Instant) -> LookFor {
        self.looking = true;
        self.look_at = now + self.poll;
        let limit = self.running_max + self.running.len();
        LookFor {
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            room: self.running_max.saturating_sub(self.running.len()),
            running: self.running.clone(),
        }
    }

    /// Ends a look: picks the messages to run from those that are due.
    pub(super) fn end_look(
        &mut self,
        now: Instant,
        mut due: Vec<Due>,
        next_due_in: Option<Duration>,
    ) -> Vec<Due> {
        self.looking = false;
        due.retain(|Due { message, .. }| {
            let room = self.running.len() < self.running_max;
            room && self.may_run(now, message) && self.running.insert(message.identity)
        });
        // What is due now was picked, or waits until something that runs has finished.
        if let Some(delay) = next_due_in.filter(|delay| !delay.is_zero()) {
            self.look_within(now, delay);
        }
        due
    }

    /// Whether a message may run now. Of those that are to run alone, one may.
    fn may_run(&mut self, now: Instant, message: &ParkedMessage) -> bool {
        if message.aborts == 0 || message.abandoned {
            return true;
        }
        if self.alone.is_some() {
            return false;
        }
        if now < self.next_alone {
            self.look_within(now, self.next_alone - now);
            return false;
        }
        self.alone = Some((message.identity, now));
        true
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

    /// What is picked of these.
    fn end_look(
        retries: &mut Retries,
        now: Instant,
        due: Vec<ParkedMessage>,
        next_due_in: Option<Duration>,
    ) -> Vec<ParkedMessage> {
        let due = due.into_iter().map(|message| Due { message, entered: None }).collect();
        let picked = retries.end_look(now, due, next_due_in).into_iter();
        picked.map(|due| due.message).collect()
    }

    #[test]
    fn a_message_that_runs_is_not_picked_again_until_it_is_finished() {
        let now = Instant::now();
        let mut retries = Retries::new(2, POLL, now);
        let wanted = retries.begin_look(now);
        assert_eq!(wanted.limit, 2);
        let three = vec![parked("a"), parked("b"), parked("c")];
        let (both, none) = wanted.choose(three.clone());
        assert_eq!((both.as_slice(), none.len()), (&three[..2], 0));
        assert_eq!(end_look(&mut retries, now, both, None).len(), 2);
        assert_eq!(retries.look_at(), None, "all that may run do");
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Handled);
        assert_eq!(retries.look_at(), Some(now), "its lane's next is due");
        let (found, _) = retries.begin_look(now).choose(vec![parked("b"), parked("c")]);
        assert_eq!(found, [parked("c")], "no attempt begins at what runs");
        let picked = end_look(&mut retries, now, vec![parked("b"), parked("c")], None);
        assert_eq!(picked, [parked("c")]);
    }

    #[test]
    fn the_next_look_is_when_the_next_message_is_due_and_no_later_than_the_poll() {
        let now = Instant::now();
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now);
        assert_eq!(retries.look_at(), None, "one look at a time");
        end_look(&mut retries, now, Vec::new(), Some(POLL * 5));
        assert_eq!(retries.look_at(), Some(now + POLL));
        // Parked while a look was under way, so the look did not see it.
        retries.begin_look(now);
        retries.delivered(now, &ConsumeOutcome::Parked(POLL / 4));
        end_look(&mut retries, now, Vec::new(), Some(POLL / 2));
        assert_eq!(retries.look_at(), Some(now + POLL / 4));
    }

    #[test]
    fn a_message_that_stays_parked_does_not_run_again_before_the_next_poll() {
        let now = Instant::now();
        let mut retries = Retries::new(2, POLL, now);
        retries.begin_look(now);
        end_look(&mut retries, now, vec![parked("a")], Some(Duration::ZERO));
        retries.finished(now, parked("a").identity, &ConsumeOutcome::Returned);
        assert_eq!(retries.look_at(), Some(now + POLL));
    }

    #[test]
    fn of_those_that_are_to_run_alone_one_does_and_others_have_as_much_time() {
        let (now, length) = (Instant::now(), POLL / 10);
        let mut retries = Retries::new(4, POLL, now);
        let (a, b) = (parked("a").with_aborts(1), parked("b").with_aborts(2));
        let look = |retries: &mut Retries, now, due: &[&ParkedMessage]| {
            let due = due.iter().map(|it| (*it).clone()).collect();
            let (to_begin, others) = retries.begin_look(now).choose(due);
            let picked = end_look(retries, now, [to_begin.clone(), others].concat(), None);
            (to_begin.len(), picked)
        };
        assert_eq!(look(&mut retries, now, &[&parked("c"), &a]), (1, vec![parked("c"), a.clone()]));
        assert_eq!(look(&mut retries, now, &[&b]), (0, Vec::new()), "one at a time");
        let gone = parked("d").with_abandoned(true);
        assert_eq!(look(&mut retries, now, &[&gone]), (0, vec![gone.clone()]), "it does not run");
        let end = now + length;
        retries.finished(end, a.identity, &ConsumeOutcome::Handled);
        assert_eq!(look(&mut retries, end, &[&b]), (0, Vec::new()), "the others have their time");
        assert_eq!(retries.look_at(), Some(end + length));
        assert_eq!(look(&mut retries, end + length, &[&b]), (0, vec![b.clone()]));
    }
}
