//! Puts received messages into lanes: one at a time within a lane, many lanes side by side.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::{HashMap, VecDeque};

use mamey_core::store::Lane;

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
            // A lane that was emptied and filled again may stand among the ready ones twice.
            if queue.running {
                continue;
            }
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
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::message::Key;
    use proptest::prelude::*;
    use std::collections::HashMap;

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

    proptest! {
        #[test]
        fn a_lane_runs_in_order_one_at_a_time_and_nothing_is_lost(
            steps in steps(), running_max in 1..4_usize,
        ) {
            let mut lanes = Lanes::new(running_max);
            let mut running: Vec<(LaneId, (Option<u8>, u32))> = Vec::new();
            let mut last: HashMap<u8, u32> = HashMap::new();
            let (mut pushed, mut seen) = (0_u32, 0_u32);
            for step in steps {
                match step {
                    Step::Push(key) => {
                        let lane = key.map(|key| Lane::new("orders", &Key::new(key)));
                        lanes.push(lane, (key, pushed));
                        pushed += 1;
                    }
                    Step::Start => {
                        let Some((id, (key, number))) = lanes.start() else { continue };
                        if let Some(key) = key {
                            prop_assert!(running.iter().all(|(_, (other, _))| *other != Some(key)));
                            prop_assert!(last.insert(key, number).is_none_or(|it| it < number));
                        }
                        running.push((id, (key, number)));
                        prop_assert!(running.len() <= running_max);
                    }
                    Step::Finish(index) if !running.is_empty() => {
                        lanes.finish(running.remove(index.index(running.len())).0);
                        seen += 1;
                    }
                    Step::Finish(_) => {}
                    Step::TakeOut(key) => {
                        let out = lanes.take_out(|(of, _)| *of == Some(key));
                        seen += u32::try_from(out.len()).unwrap();
                    }
                }
            }
            for (id, _) in running {
                lanes.finish(id);
                seen += 1;
            }
            while let Some((id, _)) = lanes.start() {
                lanes.finish(id);
                seen += 1;
            }
            prop_assert_eq!(seen, pushed);
            prop_assert!(lanes.queues.is_empty());
        }
    }
}
