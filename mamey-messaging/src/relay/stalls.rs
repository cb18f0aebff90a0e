//! When to ask the store for stalled records, and how many.

use std::time::Duration;

use mamey_core::store::{Lease, RecordId};
use tokio::time::Instant;

/// The fraction of what is in flight that may be records which were stalled: they must not keep the
/// others from going out.
const SHARES: usize = 8;

/// The pause before the store is asked again for records that could not be read or taken in.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest time for which the store is not asked, although a record waits.
const DELAY_MAX: Duration = Duration::from_hours(24);

/// What to ask the store for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StalledPlan {
    pub(super) leases: Vec<Lease>,
    pub(super) held: Vec<RecordId>,
    pub(super) limit: usize,
    pub(super) bytes_max: usize,
    /// How often the outbox had gone back in time.
    pub(super) history: u64,
}

/// One read of stalled records at a time.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    under_way: bool,
    /// There may be some at any place: a partition was gained.
    at_once: bool,
    next: Option<Instant>,
}

impl Stalls {
    /// How many stalled records may be tried at a time.
    pub(super) fn share(in_flight_max: usize) -> usize {
        (in_flight_max / SHARES).max(1)
    }

    /// Some may be due now.
    pub(super) const fn ask(&mut self) {
        self.at_once = true;
    }

    /// One is due in so long.
    pub(super) fn schedule(&mut self, now: Instant, delay: Duration) {
        let due = now.checked_add(delay).unwrap_or(now + DELAY_MAX);
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// Wakes what is due now.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.at_once = true;
        }
    }

    /// Whether to ask now. If so, a read begins.
    pub(super) fn begin(&mut self) -> bool {
        let begins = self.at_once && !self.under_way;
        if begins {
            *self = Self { under_way: true, at_once: false, next: None };
        }
        begins
    }

    /// Ends a read: the next one is due in so long. `left_out` is whether some are to be asked for again
    /// after a pause.
    pub(super) fn end(&mut self, next_in: Option<Duration>, left_out: bool, now: Instant) {
        self.under_way = false;
        if let Some(next_in) = next_in {
            self.schedule(now, next_in);
            self.wake(now);
        }
        if left_out {
            self.schedule(now, PAUSE);
        }
    }

    /// When to wake it next.
    pub(super) const fn next_due(&self) -> Option<Instant> {
        self.next
    }
}
