//! How an SQLite file is used.

use std::fmt;
use std::sync::Arc;

use mamey_core::clock::{Clock, SystemClock};

/// How an SQLite file is used.
///
/// ```
/// use mamey::persistence::SqliteOptions;
///
/// let options = SqliteOptions::default().with_read_connections(8).with_file_bytes_max(1 << 30);
/// assert!(options.synchronous_full, "each commit reaches the disk unless told otherwise");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Where the time of leases, receipts, retries and retention comes from; the machine's clock by
    /// default. SQLite has no other: a jump ahead by more than the inbox's window makes it forget what
    /// is within the window, so let the clock be slewed, not set, while a service runs.
    pub clock: Arc<dyn Clock>,
    /// Whether each commit reaches the disk before it is answered, which is the default. Without
    /// it, a power failure may lose the last commits, but never a part of one.
    pub synchronous_full: bool,
    /// The most units of work that share a transaction; 128 by default.
    pub batch_units_max: usize,
    /// The most units of work that wait for the writer; 1024 by default. Further callers wait.
    pub queued_units_max: usize,
    /// How many connections read beside the writer; 4 by default.
    pub read_connections: u32,
    /// The largest size of the file in bytes; unlimited by default. A commit that would exceed it
    /// fails as on a full disk.
    pub file_bytes_max: Option<u64>,
}

impl SqliteOptions {
    /// Sets [`SqliteOptions::clock`].
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets [`SqliteOptions::synchronous_full`].
    #[must_use]
    pub fn with_synchronous_full(mut self, synchronous_full: bool) -> Self {
        self.synchronous_full = synchronous_full;
        self
    }

    /// Sets [`SqliteOptions::batch_units_max`]; 0 counts as 1.
    #[must_use]
    pub fn with_batch_units_max(mut self, batch_units_max: usize) -> Self {
        self.batch_units_max = batch_units_max;
        self
    }

    /// Sets [`SqliteOptions::queued_units_max`]; 0 counts as 1.
    #[must_use]
    pub fn with_queued_units_max(mut self, queued_units_max: usize) -> Self {
        self.queued_units_max = queued_units_max;
        self
    }

    /// Sets [`SqliteOptions::read_connections`]; 0 counts as 1.
    #[must_use]
    pub fn with_read_connections(mut self, read_connections: u32) -> Self {
        self.read_connections = read_connections;
        self
    }

    /// Sets [`SqliteOptions::file_bytes_max`].
    #[must_use]
    pub fn with_file_bytes_max(mut self, file_bytes_max: u64) -> Self {
        self.file_bytes_max = Some(file_bytes_max);
        self
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            synchronous_full: true,
            batch_units_max: 128,
            queued_units_max: 1024,
            read_connections: 4,
            file_bytes_max: None,
        }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("synchronous_full", &self.synchronous_full)
            .field("batch_units_max", &self.batch_units_max)
            .field("queued_units_max", &self.queued_units_max)
            .field("read_connections", &self.read_connections)
            .field("file_bytes_max", &self.file_bytes_max)
            .finish_non_exhaustive()
    }
}
