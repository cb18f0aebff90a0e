//! The clock of a worker: the machine's clock, moved by the suite.

use std::sync::atomic::{AtomicI64, Ordering};

use mamey::Timestamp;
use mamey::clock::{Clock, SystemClock};

/// How far a new worker's clock is ahead of the machine's, in milliseconds.
pub(crate) const CLOCK_AHEAD_MS: &str = "MAMEY_CRASH_CLOCK_AHEAD_MS";

/// A clock that jumps.
pub(super) struct JumpClock {
    ahead_ms: AtomicI64,
}

impl JumpClock {
    pub(super) fn from_env() -> Self {
        let ahead = std::env::var(CLOCK_AHEAD_MS).ok().and_then(|ahead| ahead.parse().ok());
        Self { ahead_ms: AtomicI64::new(ahead.unwrap_or_default()) }
    }

    pub(super) fn jump(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for JumpClock {
    fn now(&self) -> Timestamp {
        let ahead_us = self.ahead_ms.load(Ordering::SeqCst).saturating_mul(1000);
        Timestamp::from_micros(SystemClock.now().as_micros().saturating_add(ahead_us))
    }
}
