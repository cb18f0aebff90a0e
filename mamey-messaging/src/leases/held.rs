//! The leases that an instance holds at one moment.

use mamey_core::message::Partition;
use mamey_core::store::Lease;
use tokio::time::Instant;

/// A lease, and one period during which it is held without a gap.
///
/// A partition that is released and taken again may come with the same lease; its tenure differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    pub(crate) lease: Lease,
    pub(crate) number: u64,
}

/// What is held right now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) leases: Vec<Tenure>,
    /// How many of them are to be released when their work is finished.
    pub(crate) surplus: usize,
    /// Those that an instance has left without a release.
    pub(crate) abandoned: Vec<Partition>,
    /// No work may begin from then on, unless the leases were renewed before.
    pub(crate) valid_until: Instant,
}

impl Held {
    pub(crate) fn nothing() -> Self {
        Self { leases: Vec::new(), surplus: 0, abandoned: Vec::new(), valid_until: Instant::now() }
    }

    pub(crate) fn is_valid(&self) -> bool {
        Instant::now() < self.valid_until
    }
}
