//! Remembers which parked messages are being retried, which lanes are parked, and when to look.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::HashSet;
use std::time::Duration;

use mamey_core::id::MessageId;
use mamey_core::message::Lane;
use mamey_core::store::ParkedMessage;
use tokio::time::Instant;

use super::worker::Fate;

/// How many parked lanes are remembered. Forgetting one costs a run in vain, nothing else.
const PARKED_LANES_MAX: usize = 10_000;

/// How long to gather messages that were parked behind others before looking: most are no heads.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Parking {
    running: HashSet<MessageId>,
    running_max: usize,
    parked_lanes: HashSet<Lane>,
    look_at: Instant,
    looking: bool,
    poll_interval: Duration,
}

impl Parking {
    pub(super) fn new(running_max: usize, poll_interval: Duration, now: Instant) -> Self {
        Self {
            running: HashSet::new(),
            running_max,
            parked_lanes: HashSet::new(),
            look_at: now,
            looking: false,
            poll_interval,
        }
    }

    /// When to look for due messages next; `None` while a look is under way or there is no use.
    pub(super) fn look_at(&self) -> Option<Instant> {
        // Half a batch at a time: messages that run are still parked, and would be read again.
        let worthwhile = self.running.len() * 2 <= self.running_max;
        (!self.looking && worthwhile).then_some(self.look_at)
    }

    /// Begins a look, and says how many messages to ask for: those that run are among them.
    pub(super) fn begin_look(&mut self, now: Instant) -> usize {
        self.looking = true;
        self.look_at = now + self.poll_interval;
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
            if room && self.running.insert(message.envelope.metadata.id) {
                picked.push(message);
            }
        }
        // What is due now was picked, or waits until something that runs is finished.
        if let Some(delay) = next_due_in.filter(|delay| !delay.is_zero()) {
            self.look_within(now, delay);
        }
        picked
    }

    /// A look failed: look again after the usual time.
    pub(super) fn look_failed(&mut self) {
        self.looking = false;
    }

    fn look_within(&mut self, now: Instant, delay: Duration) {
        self.look_at = self.look_at.min(now + delay);
    }

    /// A message is no longer being retried.
    pub(super) fn finished(&mut self, now: Instant, id: MessageId, fate: &Fate) {
        self.running.remove(&id);
        match fate {
            // Its lane's next is due, or it is itself after its pause.
            Fate::Handled | Fate::Duplicate | Fate::DeadLettered => {
                self.look_within(now, Duration::ZERO);
            }
            Fate::Parked(delay) => self.look_within(now, *delay),
            // It stays due; looking at once would run it in a circle.
            Fate::ParkedBehind | Fate::Rejected(_) | Fate::Released => {}
        }
    }

    /// Learns from a message of a lane what has become of the lane.
    pub(super) fn learn(&mut self, now: Instant, lane: Option<Lane>, fate: &Fate) {
        let pause = match fate {
            Fate::Parked(delay) => *delay,
            Fate::ParkedBehind => GATHER,
            _ => return,
        };
        self.look_within(now, pause);
        if let Some(lane) = lane
            && self.parked_lanes.len() < PARKED_LANES_MAX
        {
            self.parked_lanes.insert(lane);
        }
    }

    /// A parked message of the lane is gone, perhaps the last.
    pub(super) fn forget_lane(&mut self, lane: &Lane) {
        self.parked_lanes.remove(lane);
    }

    pub(super) fn is_parked(&self, lane: &Lane) -> bool {
        self.parked_lanes.contains(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mamey_core::clock::Timestamp;
    use mamey_core::message::{Envelope, Key, Metadata};
    use mamey_core::store::Failure;

    const POLL: Duration = Duration::from_secs(1);

    fn parked(id: &str) -> ParkedMessage {
        let id = MessageId::from_foreign("orders", id);
        let metadata = Metadata {
            key: Some("order-1".into()),
            ..Metadata::new(id, "orders.order-placed", "orders")
        };
        let payload = Bytes::new();
        ParkedMessage {
            envelope: Envelope { metadata, payload },
            attempts: 1,
            since: Timestamp::EPOCH,
            due: Timestamp::EPOCH,
            failure: Failure::waiting(),
        }
    }

    #[test]
    fn a_message_that_runs_is_not_picked_again_until_it_is_finished() {
        let now = Instant::now();
        let mut parking = Parking::new(2, POLL, now);
        assert_eq!(parking.begin_look(now), 2);
        let both = vec![parked("a"), parked("b"), parked("c")];
        assert_eq!(parking.end_look(now, both, None).len(), 2);
        assert_eq!(parking.look_at(), None, "all that may run do");
        parking.finished(now, parked("a").envelope.metadata.id, &Fate::Handled);
        assert_eq!(parking.look_at(), Some(now), "its lane's next is due");
        parking.begin_look(now);
        let picked = parking.end_look(now, vec![parked("b"), parked("c")], None);
        assert_eq!(picked, [parked("c")]);
    }

    #[test]
    fn the_next_look_is_when_the_next_message_is_due_and_no_later_than_the_poll() {
        let now = Instant::now();
        let mut parking = Parking::new(2, POLL, now);
        parking.begin_look(now);
        assert_eq!(parking.look_at(), None, "one look at a time");
        parking.end_look(now, Vec::new(), Some(POLL * 5));
        assert_eq!(parking.look_at(), Some(now + POLL));
        // Parked while a look was under way, so it did not see it.
        parking.begin_look(now);
        parking.learn(now, None, &Fate::Parked(POLL / 4));
        parking.end_look(now, Vec::new(), Some(POLL / 2));
        assert_eq!(parking.look_at(), Some(now + POLL / 4));
    }

    #[test]
    fn a_message_that_stays_where_it_was_does_not_run_in_a_circle() {
        let now = Instant::now();
        let mut parking = Parking::new(2, POLL, now);
        parking.begin_look(now);
        parking.end_look(now, vec![parked("a")], Some(Duration::ZERO));
        parking.finished(now, parked("a").envelope.metadata.id, &Fate::Released);
        assert_eq!(parking.look_at(), Some(now + POLL));
    }

    #[test]
    fn a_lane_is_known_as_parked_until_one_of_its_messages_left() {
        let now = Instant::now();
        let lane = Lane::new("orders", &Key::from("order-1"));
        let mut parking = Parking::new(2, POLL, now);
        parking.learn(now, Some(lane.clone()), &Fate::Handled);
        assert!(!parking.is_parked(&lane));
        parking.learn(now, Some(lane.clone()), &Fate::ParkedBehind);
        assert!(parking.is_parked(&lane));
        parking.forget_lane(&lane);
        assert!(!parking.is_parked(&lane));
    }
}
