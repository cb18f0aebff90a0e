//! Test: proves the laws of lanes against a model.

use mamey_core::message::{Key, Lane};
use proptest::prelude::*;

use super::lanes::{LaneId, Lanes};

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

/// The lanes, and what they must hold.
struct Model {
    lanes: Lanes<Message>,
    waiting: Vec<Message>,
    running: Vec<(LaneId, Message)>,
    pushed: u32,
    running_max: usize,
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
            let full = self.running.len() == self.running_max;
            prop_assert!(full || self.waiting.iter().all(|(key, _)| runs(*key)));
            return Ok(false);
        };
        prop_assert!(!runs(message.0), "{:?} runs beside another of its lane", message);
        let same_lane = |it: &Message| *it == message || it.0 == message.0 && message.0.is_some();
        let first = self.waiting.iter().position(same_lane);
        prop_assert_eq!(first.map(|place| self.waiting.remove(place)), Some(message));
        self.running.push((id, message));
        prop_assert!(self.running.len() <= self.running_max);
        Ok(true)
    }

    /// Each lane that can go on is ready once, and no other is.
    fn check_ready(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.lanes.ready(), self.lanes.idle());
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_lane_runs_in_order_one_at_a_time_and_nothing_is_lost_or_stuck(
        steps in steps(), running_max in 1..4_usize,
    ) {
        let lanes = Lanes::new(running_max);
        let mut model = Model { lanes, waiting: Vec::new(), running: Vec::new(), pushed: 0, running_max };
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
        prop_assert!(model.lanes.is_empty());
    }
}
