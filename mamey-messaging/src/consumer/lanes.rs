//! Puts received messages into lanes: one at a time within a lane, many lanes side by side.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::{HashMap, VecDeque};

use mamey_core::message::Lane;

/// What runs one message at a time: a lane, or a message without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaneId {
    Lane(Lane),
    Alone(u64),
}

/// Messages that wait for their turn. How many there are is bounded by the transport's prefetch.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    queues: HashMap<LaneId, Queue<T>>,
    /// Lanes whose next message may run, each once.
    ready: VecDeque<LaneId>,
    running: usize,
    running_max: usize,
    alone: u64,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    running: bool,
}

impl<T> Lanes<T> {
    pub(super) fn new(running_max: usize) -> Self {
        Self { queues: HashMap::new(), ready: VecDeque::new(), running: 0, running_max, alone: 0 }
    }

    /// Adds a message at the end of its lane.
    pub(super) fn push(&mut self, lane: Option<Lane>, message: T) {
        let id = match lane {
            Some(lane) => LaneId::Lane(lane),
            None => {
                self.alone += 1;
                LaneId::Alone(self.alone)
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

    /// The lane's message is settled: the next may run.
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

    /// Takes out the waiting messages that `unwanted` names, in no particular order.
    pub(super) fn take_out(&mut self, unwanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = VecDeque::new();
        self.queues.retain(|_, queue| {
            for message in std::mem::take(&mut queue.waiting) {
                let place = if unwanted(&message) { &mut out } else { &mut queue.waiting };
                place.push_back(message);
            }
            queue.running || !queue.waiting.is_empty()
        });
        // A lane that is gone must not stay among the ready ones: it may come and go without end.
        let queues = &self.queues;
        self.ready.retain(|id| queues.contains_key(id));
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::message::Key;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Option<u8>),
        Start,
        Finish(prop::sample::Index),
        TakeOut(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => prop::option::weighted(0.8, 0..4_u8).prop_map(Step::Push),
            3 => Just(Step::Start),
            2 => any::<prop::sample::Index>().prop_map(Step::Finish),
            1 => (0..4_u8).prop_map(Step::TakeOut),
        ];
        prop::collection::vec(step, 0..200)
    }

    type Message = (Option<u8>, u32);

    /// The lanes beside what they must hold.
    struct Model {
        lanes: Lanes<Message>,
        waiting: Vec<Message>,
        running: Vec<(LaneId, Message)>,
        pushed: u32,
    }

    impl Model {
        fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
            match step {
                Step::Push(key) => self.push(*key),
                Step::Start => {
                    self.start()?;
                }
                Step::Finish(index) if !self.running.is_empty() => {
                    let (id, _) = self.running.remove(index.index(self.running.len()));
                    self.lanes.finish(id);
                }
                Step::Finish(_) => {}
                Step::TakeOut(key) => {
                    let unwanted = |(of, _): &Message| *of == Some(*key);
                    let mut out = self.lanes.take_out(unwanted);
                    out.sort_unstable();
                    let gone: Vec<_> = self.waiting.extract_if(.., |it| unwanted(it)).collect();
                    prop_assert_eq!(out, gone);
                }
            }
            self.check_ready()
        }

        fn push(&mut self, key: Option<u8>) {
            let lane = key.map(|key| Lane::new("orders", &Key::new(key)));
            let message = (key, self.pushed);
            self.lanes.push(lane, message);
            self.waiting.push(message);
            self.pushed += 1;
        }

        /// Messages wait in the order they came, so the first of its key is the one to run.
        fn start(&mut self) -> Result<bool, TestCaseError> {
            let runs = |key: Option<u8>| {
                key.is_some() && self.running.iter().any(|(_, (other, _))| *other == key)
            };
            let Some((id, message)) = self.lanes.start() else {
                let full = self.running.len() == self.lanes.running_max;
                prop_assert!(full || self.waiting.iter().all(|(key, _)| runs(*key)));
                return Ok(false);
            };
            prop_assert!(!runs(message.0), "{:?} runs beside its lane", message);
            let same_lane =
                |it: &Message| *it == message || it.0 == message.0 && message.0.is_some();
            let first = self.waiting.iter().position(same_lane);
            prop_assert_eq!(first.map(|place| self.waiting.remove(place)), Some(message));
            self.running.push((id, message));
            prop_assert!(self.running.len() <= self.lanes.running_max);
            Ok(true)
        }

        /// Each lane that can go on is ready once, and no other is.
        fn check_ready(&self) -> Result<(), TestCaseError> {
            let idle = self.lanes.queues.values().filter(|queue| !queue.running).count();
            prop_assert_eq!(self.lanes.ready.len(), idle);
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn a_lane_runs_in_order_one_at_a_time_and_nothing_is_lost_or_stuck(
            steps in steps(), running_max in 1..4_usize,
        ) {
            let lanes = Lanes::new(running_max);
            let mut model = Model { lanes, waiting: Vec::new(), running: Vec::new(), pushed: 0 };
            for step in steps {
                model.step(&step)?;
            }
            loop {
                for (id, _) in std::mem::take(&mut model.running) {
                    model.lanes.finish(id);
                }
                if !model.start()? {
                    break;
                }
            }
            prop_assert!(model.waiting.is_empty());
            prop_assert!(model.lanes.queues.is_empty() && model.lanes.ready.is_empty());
        }
    }
}
