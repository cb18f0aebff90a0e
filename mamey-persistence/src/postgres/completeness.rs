//! Up to where the outbox is complete, by who is writing to it.

use std::collections::HashSet;

/// Up to where the outbox is complete: up to a place that was marked, once those have ended who were
/// writing at that time.
#[derive(Default)]
pub(crate) struct Completeness {
    complete_to: u64,
    mark: u64,
    /// Who was writing when the place was marked, and still is.
    writers: HashSet<String>,
}

impl Completeness {
    /// Takes in who is writing, seen after a record at `read_to` was read: whoever drew an earlier
    /// sequence has ended or is among them.
    pub(crate) fn observe(&mut self, read_to: u64, writers: HashSet<String>) -> u64 {
        if read_to < self.mark {
            *self = Self::default();
        }
        self.writers.retain(|writer| writers.contains(writer));
        if self.writers.is_empty() {
            self.complete_to = self.mark;
            self.mark = read_to;
            self.writers = writers;
        }
        if self.writers.is_empty() {
            self.complete_to = self.mark;
        }
        self.complete_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writers(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_place_is_complete_when_those_have_ended_who_were_writing() {
        let mut outbox = Completeness::default();
        assert_eq!(outbox.observe(10, writers(&["1/1", "2/1"])), 0);
        assert_eq!(outbox.observe(20, writers(&["2/1", "3/1"])), 0, "one of them still writes");
        assert_eq!(outbox.observe(30, writers(&["3/1", "4/1"])), 10);
        assert_eq!(outbox.observe(40, writers(&["4/1"])), 10, "as when 30 was marked");
        assert_eq!(outbox.observe(50, writers(&["5/1"])), 30);
        assert_eq!(outbox.observe(60, writers(&[])), 60, "nobody writes");
        assert_eq!(outbox.observe(7, writers(&["6/1"])), 0, "the outbox went back");
        assert_eq!(outbox.observe(8, writers(&["7/1"])), 7);
    }
}
