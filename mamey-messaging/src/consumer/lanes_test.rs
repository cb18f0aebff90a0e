//! Test: proves the laws of lanes against a model.

use std::collections::HashSet;

use mamey_core::message::{Key, Lane};
use proptest::prelude::*;

use super::lanes::{LaneId, Lanes};

#[derive(Clone, Debug)]
enum Step {
    Push(Option<u8>),
    Start,
    StartParking(u8),
    Finish(prop::sample::Index),
    TakeOut(u8),
    /// The messages of this key are parked from now on, or no longer.
    Park(u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::option::weighted(0.8, 0..4_u8).prop_map(Step::Push),
        3 => Just(Step::Start),
        2 => (0..5_u8).prop_map(Step::StartParking),
        2 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (0..4_u8).prop_map(Step::TakeOut),
        1 => (0..4_u8, any::<bool>()).prop_map(|(key, parks)| Step::Park(key, parks)),
    ];
    prop::collection::vec(step, 0..200)
}

type Message = (Option<u8>, u32);

/// The lanes, and what they must hold.
#[derive(Default)]
struct Model {
    lanes: Lanes<Message>,
    waiting: Vec<Message>,
    running: Vec<(LaneId, Message)>,
    parked: HashSet<u8>,
    pushed: u32,
}

fn lane(key: u8) -> Lane {
    Lane::new("orders", &Key::new(key))
}

impl Model {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push(key) => self.push(*key),
            Step::Start => {
                self.start()?;
            }
            Step::StartParking(except) => {
                self.start_parking(Some(*except))?;
            }
            Step::Finish(index) if !self.running.is_empty() => {
                let run = self.running.remove(index.index(self.running.len()));
                self.finish(run);
            }
            Step::Finish(_) => {}
            Step::TakeOut(key) => {
                let unwanted = |(of, _): &Message| *of == Some(*key);
                let mut out = self.lanes.take_out(unwanted);
                out.sort_unstable();
                let gone: Vec<_> = self.waiting.extract_if(.., |it| unwanted(it)).collect();
                prop_assert_eq!(out, gone);
            }
            Step::Park(key, parks) => {
                if *parks {
                    self.parked.insert(*key)
                } else {
                    self.parked.remove(key)
                };
                let parked = self.parked.clone();
                self.lanes.sort(|id| parked.iter().any(|key| id.lane() == Some(&lane(*key))));
            }
        }
        self.check_ready()
    }

    fn parks(&self, key: Option<u8>) -> bool {
        key.is_some_and(|key| self.parked.contains(&key))
    }

    fn push(&mut self, key: Option<u8>) {
        let message = (key, self.pushed);
        let parks = self.parks(key);
        self.lanes.push(key.map(lane), message, parks);
        self.waiting.push(message);
        self.pushed += 1;
    }

    fn finish(&mut self, (id, (key, _)): (LaneId, Message)) {
        let parks = self.parks(key);
        self.lanes.finish(id, parks);
    }

    fn start(&mut self) -> Result<bool, TestCaseError> {
        let next = self.lanes.next().copied();
        let started = self.lanes.start();
        prop_assert_eq!(started.as_ref().map(|(_, message)| *message), next);
        self.begin(started, |model, key| !model.parks(key))
    }

    /// Parks the next message of any lane but that of `except`.
    fn start_parking(&mut self, except: Option<u8>) -> Result<bool, TestCaseError> {
        let excepted = except.map(lane);
        let may = |id: &LaneId| excepted.is_none() || id.lane() != excepted.as_ref();
        let started = self.lanes.start_parking(may);
        self.begin(started, |model, key| model.parks(key) && (except.is_none() || key != except))
    }

    /// Messages wait in the order they came, so the first of its key is the one to begin, of the
    /// keys that `may` selects; none begins only if all of these are busy.
    fn begin(
        &mut self,
        started: Option<(LaneId, Message)>,
        may: impl Fn(&Self, Option<u8>) -> bool,
    ) -> Result<bool, TestCaseError> {
        let runs = |key: Option<u8>| {
            key.is_some() && self.running.iter().any(|(_, (other, _))| *other == key)
        };
        let Some((id, message)) = started else {
            prop_assert!(self.waiting.iter().all(|(key, _)| runs(*key) || !may(self, *key)));
            return Ok(false);
        };
        prop_assert!(may(self, message.0), "{:?} went the wrong way", message);
        prop_assert!(!runs(message.0), "{:?} runs beside another of its lane", message);
        let same_lane = |it: &Message| *it == message || it.0 == message.0 && message.0.is_some();
        let first = self.waiting.iter().position(same_lane);
        prop_assert_eq!(first.map(|place| self.waiting.remove(place)), Some(message));
        self.running.push((id, message));
        Ok(true)
    }

    /// Each lane that can go on is ready once, where it belongs, and no other is.
    fn check_ready(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.lanes.ready_count(), self.lanes.idle_count());
        let mut waiting = 0;
        for line in self.lanes.waiting() {
            waiting += line.count;
            prop_assert_eq!(self.running.iter().any(|(id, _)| id == line.id), line.busy);
            let (key, _) = *line.first;
            prop_assert_eq!(self.lanes.is_parked_next(line.id), self.parks(key) && !line.busy);
        }
        prop_assert_eq!(waiting, self.waiting.len());
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_lane_runs_in_order_one_at_a_time_and_nothing_is_lost_or_stuck(steps in steps()) {
        let mut model = Model::default();
        for step in steps {
            model.step(&step)?;
        }
        loop {
            for run in std::mem::take(&mut model.running) {
                model.finish(run);
            }
            if !model.start()? && !model.start_parking(None)? {
                break;
            }
        }
        prop_assert!(model.waiting.is_empty());
        prop_assert!(model.lanes.is_empty());
    }
}
