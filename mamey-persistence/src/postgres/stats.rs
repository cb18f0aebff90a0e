//! Counts what an instance commits.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much was committed since the database was connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresStats {
    /// Calls to the server, each a transaction of its own. A call that is sent again counts again.
    pub calls: u64,
    /// Units of work in these calls, each once.
    pub units: u64,
    /// Those of them that waited for what another transaction held, outside of the others' calls.
    pub waited: u64,
}

/// The running counters behind [`PostgresStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    units: AtomicU64,
    waited: AtomicU64,
}

impl Counters {
    /// Counts one call to the server.
    pub(crate) fn add_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts units, once however often they are sent.
    pub(crate) fn add_units(&self, units: usize) {
        self.units.fetch_add(units as u64, Ordering::Relaxed);
    }

    /// Counts one that begins to wait for another transaction.
    pub(crate) fn add_waiting(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far.
    pub(crate) fn read(&self) -> PostgresStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PostgresStats {
            calls: read(&self.calls),
            units: read(&self.units),
            waited: read(&self.waited),
        }
    }
}
