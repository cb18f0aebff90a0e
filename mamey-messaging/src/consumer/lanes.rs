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
    /// Lanes whose next message may be handled.
    to_handle: VecDeque<LaneId>,
    /// Lanes whose next message is to be parked unhandled. Each lane that can go on is in one of the
    /// two, once.
    to_park: VecDeque<LaneId>,
    keyless: u64,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    /// Its latest message has been taken out, and is not finished.
    busy: bool,
}

/// A lane with messages that wait.
#[derive(Debug)]
pub(super) struct WaitingLane<'a, T> {
    pub(super) id: &'a LaneId,
    pub(super) first: &'a T,
    pub(super) count: usize,
    /// They wait for an earlier message of their lane.
    pub(super) busy: bool,
}

impl LaneId {
    pub(super) const fn lane(&self) -> Option<&Lane> {
        match self {
            Self::Lane(lane) => Some(lane),
            Self::Keyless(_) => None,
        }
    }
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        let (to_handle, to_park) = (VecDeque::new(), VecDeque::new());
        Self { queues: HashMap::new(), to_handle, to_park, keyless: 0 }
    }
}

impl<T> Lanes<T> {
    /// Adds a message at the end of its lane, whose messages `parks` says to park unhandled.
    pub(super) fn push(&mut self, lane: Option<Lane>, message: T, parks: bool) {
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
            .or_insert_with(|| Queue { waiting: VecDeque::new(), busy: false });
        let ready = queue.waiting.is_empty() && !queue.busy;
        queue.waiting.push_back(message);
        if ready {
            self.ready(id, parks);
        }
    }

    /// The next message to handle. Its lane waits until it is finished.
    pub(super) fn start(&mut self) -> Option<(LaneId, T)> {
        let id = self.to_handle.pop_front()?;
        self.take_first(id)
    }

    /// The next message to park, of the lanes that `may` selects. Its lane waits until it is finished.
    pub(super) fn start_parking(&mut self, may: impl Fn(&LaneId) -> bool) -> Option<(LaneId, T)> {
        let at = self.to_park.iter().position(may)?;
        let id = self.to_park.remove(at)?;
        self.take_first(id)
    }

    fn take_first(&mut self, id: LaneId) -> Option<(LaneId, T)> {
        let queue = self.queues.get_mut(&id)?;
        let message = queue.waiting.pop_front()?;
        queue.busy = true;
        Some((id, message))
    }

    /// The lane's message is finished: the next one can go on, to be parked if `parks` says so.
    pub(super) fn finish(&mut self, id: LaneId, parks: bool) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        if !std::mem::take(&mut queue.busy) {
            return;
        }
        if queue.waiting.is_empty() {
            self.queues.remove(&id);
        } else {
            self.ready(id, parks);
        }
    }

    fn ready(&mut self, id: LaneId, parks: bool) {
        let place = if parks { &mut self.to_park } else { &mut self.to_handle };
        place.push_back(id);
    }

    /// Decides anew which of the lanes that can go on have their messages parked.
    pub(super) fn sort(&mut self, parks: impl Fn(&LaneId) -> bool) {
        let handle = std::mem::take(&mut self.to_handle);
        let park = std::mem::take(&mut self.to_park);
        for id in park.into_iter().chain(handle) {
            let parks = parks(&id);
            self.ready(id, parks);
        }
    }

    /// The message that is handled next.
    pub(super) fn next(&self) -> Option<&T> {
        self.queues.get(self.to_handle.front()?)?.waiting.front()
    }

    /// The lanes with messages that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = WaitingLane<'_, T>> {
        self.queues.iter().filter_map(|(id, queue)| {
            let first = queue.waiting.front()?;
            Some(WaitingLane { id, first, count: queue.waiting.len(), busy: queue.busy })
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Takes out the waiting messages that `unwanted` selects, in no particular order.
    pub(super) fn take_out(&mut self, unwanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = VecDeque::new();
        self.queues.retain(|_, queue| {
            for message in std::mem::take(&mut queue.waiting) {
                let place = if unwanted(&message) { &mut out } else { &mut queue.waiting };
                place.push_back(message);
            }
            queue.busy || !queue.waiting.is_empty()
        });
        // A removed lane must not stay among those that can go on, or they would grow without a
        // limit.
        let queues = &self.queues;
        let can_go_on = |id: &LaneId| {
            queues.get(id).is_some_and(|queue| !queue.busy && !queue.waiting.is_empty())
        };
        self.to_handle.retain(can_go_on);
        self.to_park.retain(can_go_on);
        out.into()
    }
}

#[cfg(test)]
impl<T> Lanes<T> {
    /// How many lanes can go on.
    pub(super) fn ready_count(&self) -> usize {
        self.to_handle.len() + self.to_park.len()
    }

    /// How many lanes hold messages and are not busy.
    pub(super) fn idle_count(&self) -> usize {
        self.queues.values().filter(|queue| !queue.busy).count()
    }

    pub(super) fn is_parked_next(&self, id: &LaneId) -> bool {
        self.to_park.contains(id)
    }
}
