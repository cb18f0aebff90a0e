//! Lanes that go on with records far back in the outbox, where reads do not look any more.

use std::collections::HashMap;

use mamey_core::message::{Key, Partition};

use super::lane::LaneId;

/// Lanes whose next records are below the floor, where the outbox is complete.
///
/// They are read in passes from there up to the floor, for all lanes that waited when the pass began,
/// while other reads leave these lanes out. So a lane that goes on does not keep the others from being
/// read, however much lies between its record and the floor.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The lanes that the next pass reads.
    waiting: HashMap<LaneId, Behind>,
    /// The lanes that this pass reads, and up to where it has.
    pass: HashMap<LaneId, Behind>,
    position: u64,
}

/// Where a lane goes on.
#[derive(Clone, Copy, Debug)]
struct Behind {
    partition: Partition,
    after: u64,
}

impl CatchUp {
    /// Has the records of a lane read that come after a place.
    pub(super) fn add(&mut self, lane: LaneId, partition: Partition, after: u64) {
        self.pass.remove(&lane);
        let behind = self.waiting.entry(lane).or_insert(Behind { partition, after });
        behind.after = behind.after.min(after);
    }

    /// Reads a lane no more: a record of it has failed, and it goes on there later.
    pub(super) fn remove(&mut self, lane: &LaneId) {
        self.pass.remove(lane);
        self.waiting.remove(lane);
    }

    /// Whether there is something to read.
    pub(super) fn is_behind(&self) -> bool {
        self.len() > 0
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.pass.len()
    }

    pub(super) fn contains(&self, lane: &LaneId) -> bool {
        self.waiting.contains_key(lane) || self.pass.contains_key(lane)
    }

    /// The keys that other reads leave out.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.waiting.keys().chain(self.pass.keys()).filter_map(LaneId::key)
    }

    /// The next read of the pass: where it begins, and of which keys. A new pass begins when the one
    /// before is over.
    pub(super) fn begin_read(&mut self) -> (u64, Vec<Key>) {
        if self.pass.is_empty() {
            self.pass = std::mem::take(&mut self.waiting);
            let first = self.pass.values().map(|behind| behind.after).min();
            self.position = first.unwrap_or_default();
        }
        (self.position, self.pass.keys().filter_map(LaneId::key).cloned().collect())
    }

    /// Whether a record that the pass has read is to be taken in.
    pub(super) fn takes(&self, lane: &LaneId, sequence: u64) -> bool {
        self.pass.get(lane).is_some_and(|behind| sequence > behind.after)
    }

    /// Everything up to here was taken in; returns whether the pass goes on. It is over when it has
    /// come to the floor: what is above it, other reads find.
    pub(super) fn read_to(&mut self, position: Option<u64>, floor: u64) -> bool {
        match position {
            Some(position) if position < floor => self.position = self.position.max(position),
            _ => self.pass.clear(),
        }
        !self.pass.is_empty()
    }

    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.pass.retain(|_, behind| behind.partition != partition);
        self.waiting.retain(|_, behind| behind.partition != partition);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> LaneId {
        LaneId::Key(Key::from(name))
    }

    fn partition() -> Partition {
        Partition::new(0, 1).unwrap()
    }

    fn add(catch_up: &mut CatchUp, name: &str, after: u64) {
        catch_up.add(lane(name), partition(), after);
    }

    #[test]
    fn a_pass_begins_at_its_first_lane_and_ends_at_the_floor() {
        let mut catch_up = CatchUp::default();
        add(&mut catch_up, "a", 50);
        add(&mut catch_up, "b", 20);
        let (from, mut keys) = catch_up.begin_read();
        keys.sort();
        assert_eq!((from, keys), (20, vec![Key::from("a"), Key::from("b")]));
        assert!(catch_up.takes(&lane("b"), 21) && !catch_up.takes(&lane("b"), 20));
        assert!(!catch_up.takes(&lane("a"), 50), "it was taken in before");
        assert!(catch_up.read_to(Some(70), 100));
        assert_eq!(catch_up.begin_read().0, 70);
        assert!(!catch_up.read_to(Some(100), 100));
        assert!(!catch_up.is_behind());
    }

    #[test]
    fn a_lane_that_comes_during_a_pass_waits_for_the_next_one() {
        let mut catch_up = CatchUp::default();
        add(&mut catch_up, "a", 50);
        add(&mut catch_up, "b", 60);
        catch_up.begin_read();
        assert!(catch_up.read_to(Some(80), 100));
        add(&mut catch_up, "c", 10);
        // What it takes up again was read by this pass, and cut off.
        add(&mut catch_up, "b", 75);
        assert!(catch_up.contains(&lane("c")) && !catch_up.takes(&lane("c"), 90));
        assert!(!catch_up.takes(&lane("b"), 90));
        assert_eq!(catch_up.begin_read(), (80, vec![Key::from("a")]));
        assert!(!catch_up.read_to(None, 100), "the outbox ends there");
        assert_eq!(catch_up.begin_read().0, 10);
        catch_up.remove(&lane("c"));
        catch_up.drop_partition(partition());
        assert!(!catch_up.is_behind() && !catch_up.contains(&lane("b")));
    }
}
