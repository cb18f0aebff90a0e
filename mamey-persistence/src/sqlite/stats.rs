//! Counts what the writer does.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much the writer did since the file was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteStats {
    /// Transactions begun.
    pub transactions: u64,
    /// Units of work and other writes in them.
    pub units: u64,
}

/// The counters behind [`SqliteStats`]: how many units share a transaction.
#[derive(Debug, Default)]
pub(super) struct Counters {
    transactions: AtomicU64,
    units: AtomicU64,
}

impl Counters {
    /// Counts a transaction, and gives its number.
    pub(super) fn add_transaction(&self, units: usize) -> u64 {
        self.units.fetch_add(units as u64, Ordering::Relaxed);
        1 + self.transactions.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> SqliteStats {
        SqliteStats {
            transactions: self.transactions.load(Ordering::Relaxed),
            units: self.units.load(Ordering::Relaxed),
        }
    }
}
