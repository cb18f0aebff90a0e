//! Counts the running tasks of each partition, whose lease is held until they have finished.

use std::collections::HashMap;

use mamey_core::message::Partition;

#[derive(Debug, Default)]
pub(super) struct Busy(HashMap<Partition, usize>);

impl Busy {
    pub(super) fn begin(&mut self, partition: Partition) {
        *self.0.entry(partition).or_default() += 1;
    }

    pub(super) fn end(&mut self, partition: Partition) {
        if let Some(count) = self.0.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&partition);
            }
        }
    }

    pub(super) fn contains(&self, partition: Partition) -> bool {
        self.0.contains_key(&partition)
    }
}
