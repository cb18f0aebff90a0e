//! Remembers which unreadable rows were reported, since they are found again and again.

use std::collections::BTreeSet;

/// How many rows are remembered.
const REPORTED_MAX: usize = 4096;

/// The rows that were reported; beyond a bounded number the first are forgotten.
#[derive(Debug)]
pub(crate) struct Reported<T>(BTreeSet<T>);

impl<T> Default for Reported<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord> Reported<T> {
    /// Whether the row was not reported yet; from now on it is.
    pub(crate) fn is_new(&mut self, row: T) -> bool {
        let new = self.0.insert(row);
        if self.0.len() > REPORTED_MAX {
            self.0.pop_first();
        }
        new
    }
}
