//! Remembers which parked messages are being retried, which lanes are parked, and when to look.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::HashSet;
use std::time::Duration;

use mamey_core::id::MessageId;
use mamey_core::store::{Lane, ParkedMessage};
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
