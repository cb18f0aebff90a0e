//! Puts received messages into lanes: one at a time within a lane, many lanes in parallel.
//!
//! Plain data without tasks, so that a model can test its laws.

use std::collections::{HashMap, VecDeque};

use mamey_core::message::Lane;

/// Names a lane, or a message without a key, which has a lane of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaneId {
    Lane(Lane),
    Keyless(u64),
}

/// Messages that wait for their turn. The transport's prefetch bounds how many.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    queues: HashMap<LaneId, Queue<T>>,
    /// Lanes whose next message may run, each once.
    ready: VecDeque<LaneId>,
    running: usize,
    running_max: usize,
    keyless: u64,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    running: bool,
}

impl<T> Lanes<T> {
    pub(super) fn new(running_max: usize) -> Self {
        Self { queues: HashMap::new(), ready: VecDeque::new(), running: 0, running_max, keyless: 0 }
    }

    /// Adds a message at the end of its lane.
    pub(super) fn push(&mut self, lane: Option<Lane>, message: T) {
        let id = match lane {
            Some(lane) => LaneId::Lane(lane),
            None => {
                self.keyless += 1;
                LaneId::Keyless(self.keyless)
            }
        };
        let queue = self
            .queues
            .entry(id.clone())
            .or_insert_with(|| Queue { waiting: VecDeque::new(), running: false });
        if queue.waiting.is_empty() && !queue.running {
            self.ready.push_back(id);
        }
        queue.waiting.push_back(message);
    }

    /// The next message to run, within the limit. Its lane waits until it is finished.
    pub(super) fn start(&mut self) -> Option<(LaneId, T)> {
        while self.running < self.running_max {
            let id = self.ready.pop_front()?;
            let Some(queue) = self.queues.get_mut(&id) else {
                continue;
            };
            let Some(message) = queue.waiting.pop_front() else {
                continue;
            };
            queue.running = true;
            self.running += 1;
            return Some((id, message));
        }
        None
    }

    /// The lane's message has been processed: the next may run.
    pub(super) fn finish(&mut self, id: LaneId) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        if !std::mem::take(&mut queue.running) {
            return;
        }
        self.running -= 1;
        if queue.waiting.is_empty() {
            self.queues.remove(&id);
        } else {
            self.ready.push_back(id);
        }
    }

    /// Takes out the waiting messages that `unwanted` selects, in no particular order.
    pub(super) fn take_out(&mut self, unwanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = VecDeque::new();
        self.queues.retain(|_, queue| {
            for message in std::mem::take(&mut queue.waiting) {
                let place = if unwanted(&message) { &mut out } else { &mut queue.waiting };
                place.push_back(message);
            }
            queue.running || !queue.waiting.is_empty()
        });
        // A removed lane must not stay among the ready ones, or they would grow without a limit.
        let queues = &self.queues;
        self.ready.retain(|id| queues.contains_key(id));
        out.into()
    }
}

#[cfg(test)]
impl<T> Lanes<T> {
    /// How many lanes are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many lanes hold messages of which none runs.
    pub(super) fn idle(&self) -> usize {
        self.queues.values().filter(|queue| !queue.running).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.ready.is_empty()
    }
}
