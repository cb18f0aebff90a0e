//! Where in the outbox the next read begins.

/// How far behind what was read a read may begin, in sequences, before the store is asked whether it may
/// begin later.
const SPREAD_MAX: u64 = 1024;

/// Where in the outbox the next read begins.
///
/// A commit may become visible after one with a larger sequence, so a read never begins right
/// behind the last record: a successor could be published before it, and order would be lost. A
/// read begins at a floor up to which the outbox is complete, as the store says from time to time.
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

    /// Everything up to here was read, and no commit adds to it.
    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether reads begin far behind what was read: each looks at all that lies between.
    pub(super) const fn is_spread(&self) -> bool {
        self.scanned - self.floor > SPREAD_MAX
    }

    /// Sets the floor to where the outbox is complete, and has everything behind the floor before read
    /// once more: commits may have become visible there since the reads that came so far. Returns
    /// whether it moved.
    pub(super) fn follow(&mut self, complete_to: u64) -> bool {
        let (before, complete_to) = (self.floor, complete_to.min(self.scanned));
        if complete_to <= before {
            return false;
        }
        self.floor = complete_to;
        self.again_after(before);
        true
    }

    /// Has everything read once more, and sets the floor to where the outbox is complete, if that is
    /// known.
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
    fn the_floor_follows_and_what_was_behind_it_is_read_once_more() {
        let mut position = Position::default();
        position.begin();
        position.read_to(2000, true);
        assert!(position.is_spread() && position.follow(900));
        assert_eq!((position.begin(), position.begin()), (0, 900));
        assert!(position.is_spread() && !position.follow(900) && !position.follow(0));
        assert_eq!(position.begin(), 900);
        assert!(position.follow(3000));
        assert_eq!((position.begin(), position.begin()), (900, 2000));
        assert!(!position.is_spread());
        assert_eq!(position.floor(), 2000);
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
