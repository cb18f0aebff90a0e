//! What a consumer is made of.

use std::sync::Arc;

use mamey_core::inbound::Inbound;
use mamey_core::store::Store;
use mamey_core::transport::Transport;

use super::options::ConsumerOptions;
use crate::stats::ConsumerStats;

/// What a consumer is made of.
pub(super) struct Parts {
    pub(super) inbound: Arc<dyn Inbound>,
    pub(super) store: Arc<dyn Store>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) options: ConsumerOptions,
    pub(super) stats: ConsumerStats,
}
