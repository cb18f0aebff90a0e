//! Turns settled deliveries into as few acknowledgements as are safe.

use std::collections::BTreeSet;

/// Which deliveries of a channel are neither acknowledged nor returned.
#[derive(Debug, Default)]
pub(super) struct Acks {
    unsettled: BTreeSet<u64>,
}

/// One acknowledgement: of one delivery, or of all up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    pub(super) multiple: bool,
}

impl Acks {
    pub(super) fn delivered(&mut self, tag: u64) {
        self.unsettled.insert(tag);
    }

    /// The acknowledgements of these deliveries, each of which is acknowledged once.
    pub(super) fn settle(&mut self, tags: impl IntoIterator<Item = u64>) -> Vec<Ack> {
        let mut settled: BTreeSet<u64> =
            tags.into_iter().filter(|tag| self.unsettled.remove(tag)).collect();
        // "All up to it" is safe below the first one that is not settled.
        let later =
            self.unsettled.first().map_or_else(BTreeSet::new, |first| settled.split_off(first));
        let together = match (settled.len(), settled.last()) {
            (_, None) => None,
            (count, Some(last)) => Some(Ack { tag: *last, multiple: count > 1 }),
        };
        let each = later.into_iter().map(|tag| Ack { tag, multiple: false });
        together.into_iter().chain(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_settled_without_a_gap_goes_together() {
        let mut acks = Acks::default();
        (1..=5).for_each(|tag| acks.delivered(tag));
        assert_eq!(acks.settle([2]), [Ack { tag: 2, multiple: false }]);
        assert_eq!(
            acks.settle([3, 1, 5]),
            [Ack { tag: 3, multiple: true }, Ack { tag: 5, multiple: false }]
        );
        assert_eq!(acks.settle([3, 9]), []);
    }

    proptest! {
        #[test]
        fn the_broker_takes_exactly_what_was_settled(
            batches in prop::collection::vec(prop::collection::btree_set(1_u64..40, 0..10), 0..10)
        ) {
            let mut acks = Acks::default();
            (1..40).for_each(|tag| acks.delivered(tag));
            let mut broker: BTreeSet<u64> = (1..40).collect();
            let mut expected = broker.clone();
            for batch in batches {
                for tag in &batch {
                    expected.remove(tag);
                }
                for ack in acks.settle(batch) {
                    // A tag that the broker does not know closes the channel.
                    prop_assert!(broker.contains(&ack.tag));
                    broker.retain(|tag| *tag != ack.tag && !(ack.multiple && *tag < ack.tag));
                }
                prop_assert_eq!(&broker, &expected);
            }
        }
    }
}
