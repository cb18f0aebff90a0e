//! How a database in memory is used.

use std::fmt;
use std::sync::Arc;

use mamey_core::clock::{Clock, SystemClock};

/// How a database in memory is used.
///
/// ```
/// use std::sync::Arc;
///
/// use mamey::clock::{ManualClock, Timestamp};
/// use mamey::persistence::{MemoryDatabase, MemoryOptions};
///
/// let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
/// let options = MemoryOptions::default().with_clock(clock);
/// let database = MemoryDatabase::with_options(options);
/// # let _ = database;
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Where the time of leases, receipts, retries and retention comes from; the machine's clock by
    /// default.
    pub clock: Arc<dyn Clock>,
}

impl MemoryOptions {
    /// Sets [`MemoryOptions::clock`].
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock) }
    }
}

impl fmt::Debug for MemoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOptions").finish_non_exhaustive()
    }
}
