//! Where in the outbox the next read begins.

/// Where in the outbox the next read begins.
///
/// A commit may become visible after one with a larger sequence, so a read never begins right
/// behind the last record: a successor could be published before it, and order would be lost. A
/// read begins at a floor up to which the outbox is complete, as the store says with each sweep.
/// Records behind it that are in memory are left out, and confirmed ones are deleted, so little is
/// read twice.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Everything up to here was read, and no commit adds to it.
    floor: u64,
    /// Everything up to here was read, except for late commits.
    scanned: u64,
    /// Where to begin instead, because records after it were left out on purpose.
    resume: Option<u64>,
}

impl Position {
    /// Where the next read begins. What comes before counts as read from then on.
    pub(super) fn begin(&mut self) -> u64 {
        let resume = self.resume.take().unwrap_or(self.floor);
        resume.min(self.floor)
    }

    /// A read ended at `last`, with more behind it or not.
    pub(super) fn read_to(&mut self, last: u64, more: bool) {
        self.scanned = self.scanned.max(last);
        if more && last < self.floor {
            self.again_after(last);
        }
    }

    /// Records after `sequence` are to be read again.
    pub(super) fn again_after(&mut self, sequence: u64) {
        let resume = self.resume.map_or(sequence, |resume| resume.min(sequence));
        self.resume = Some(resume);
    }

    /// The record itself is to be read again.
    pub(super) fn again_from(&mut self, sequence: u64) {
        self.again_after(sequence.saturating_sub(1));
    }

    /// Whether records before the floor are to be read again.
    pub(super) const fn is_behind(&self) -> bool {
        self.resume.is_some()
    }

    /// Up to where the outbox was read.
    pub(super) const fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Sets the floor to where the outbox is complete, and has everything read once more: commits may
    /// have become visible below the floor since the reads that came so far.
    pub(super) fn sweep(&mut self, complete_to: Option<u64>) {
        if let Some(complete_to) = complete_to {
            self.floor = complete_to.min(self.scanned);
        }
        self.again_after(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_where_the_outbox_is_complete_and_each_sweep_begins_at_zero() {
        let mut position = Position::default();
        assert_eq!(position.begin(), 0);
        position.read_to(100, false);
        position.sweep(Some(40));
        assert_eq!(position.begin(), 0);
        assert_eq!(position.begin(), 40);
        position.sweep(None);
        assert_eq!(position.begin(), 0);
        assert_eq!(position.begin(), 40);
        position.sweep(Some(200));
        assert_eq!(position.begin(), 0);
        assert_eq!(position.begin(), 100, "never beyond what was read");
    }

    #[test]
    fn a_page_below_the_floor_continues_where_it_ended() {
        let mut position = Position { floor: 100, ..Position::default() };
        position.again_from(5);
        assert_eq!(position.begin(), 4);
        position.read_to(60, true);
        assert_eq!(position.begin(), 60);
        position.read_to(160, true);
        assert_eq!(position.begin(), 100);
    }
}
