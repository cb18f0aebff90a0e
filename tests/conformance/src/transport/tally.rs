//! Counts what became of numbered messages: lost, handled twice, handled out of order.

use std::collections::{BTreeSet, HashMap};

/// What became of some messages, each of which is the nth of its key.
#[derive(Debug, Default)]
pub(super) struct Tally {
    handled: HashMap<String, BTreeSet<u64>>,
    deliveries: u64,
    redeliveries: u64,
    duplicates: u64,
    out_of_order: u64,
}

impl Tally {
    /// A message came, once more or for the first time.
    pub(super) fn delivered(&mut self, again: bool) {
        self.deliveries += 1;
        self.redeliveries += u64::from(again);
    }

    /// The `nth` message of a key was acknowledged.
    pub(super) fn handled(&mut self, key: &str, nth: u64) {
        let handled = self.handled.entry(key.to_owned()).or_default();
        let after_a_later_one = handled.last().is_some_and(|last| *last > nth);
        match (handled.insert(nth), after_a_later_one) {
            (false, _) => self.duplicates += 1,
            (true, late) => self.out_of_order += u64::from(late),
        }
    }

    /// How many different messages were acknowledged.
    pub(super) fn distinct(&self) -> usize {
        self.handled.values().map(BTreeSet::len).sum()
    }

    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    pub(super) const fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// The counts in one line, for people.
    pub(super) fn describe(&self, published: usize) -> String {
        let Self { deliveries, redeliveries, duplicates, out_of_order, .. } = self;
        let rate = *duplicates as f64 * 100.0 / published.max(1) as f64;
        format!(
            "{published} published, {} handled, {deliveries} deliveries ({redeliveries} marked as \
             again), {duplicates} duplicates ({rate:.1} %), {out_of_order} out of order",
            self.distinct()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_time_is_a_duplicate_and_a_late_first_time_is_out_of_order() {
        let mut tally = Tally::default();
        for nth in [0, 2, 2, 1, 1] {
            tally.handled("a", nth);
        }
        tally.handled("b", 0);
        assert_eq!((tally.duplicates(), tally.out_of_order(), tally.distinct()), (2, 1, 4));
    }
}
