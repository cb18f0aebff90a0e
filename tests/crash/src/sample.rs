//! What a soak measures of the processes at one moment.

/// One look at all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at_ms: u64,
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) outbox: u64,
    pub(crate) lag_ms: u64,
}
