//! Gives turns to the units that wait for what other transactions hold: they are many, and the
//! connections to wait on are few.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// In what time each of the units has a turn, unless they are too many.
const ROUND: Duration = Duration::from_secs(1);

/// The shortest turn.
pub(crate) const TURN_MIN: Duration = Duration::from_millis(20);

/// The units that wait for a turn or have it.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    units: AtomicU32,
}

impl Turns {
    /// Adds a unit, until it is dropped.
    pub(crate) fn join(&self) -> Member<'_> {
        self.units.fetch_add(1, Ordering::Relaxed);
        Member(self)
    }
}

/// One of the units.
#[derive(Debug)]
pub(crate) struct Member<'t>(&'t Turns);

impl Member<'_> {
    /// How long a turn is now.
    pub(crate) fn turn(&self) -> Duration {
        (ROUND / self.0.units.load(Ordering::Relaxed).max(1)).max(TURN_MIN)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.0.units.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_the_shorter_the_more_units_wait() {
        let turns = Turns::default();
        let first = turns.join();
        assert_eq!(first.turn(), ROUND);
        let others: Vec<_> = (0..9).map(|_| turns.join()).collect();
        assert_eq!(first.turn(), ROUND / 10);
        drop(others);
        assert_eq!(first.turn(), ROUND);
        let _many: Vec<_> = (0..999).map(|_| turns.join()).collect();
        assert_eq!(first.turn(), TURN_MIN);
    }
}
