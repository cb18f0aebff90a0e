//! One context of a running service.

use std::sync::Arc;

use mamey_core::store::Store;
use mamey_core::transport::Serving;
use mamey_cqrs::ContextRuntime;
use mamey_messaging::{ConsumerStats, RelayStats};

/// One context of a running service.
pub(super) struct Hosted {
    pub(super) runtime: Arc<ContextRuntime>,
    pub(super) consumed: ConsumerStats,
    pub(super) relayed: RelayStats,
    /// Delivers the requests of other contexts, if it serves any.
    pub(super) serving: Option<Box<dyn Serving>>,
}

impl Hosted {
    pub(super) fn name(&self) -> &str {
        self.runtime.name().as_str()
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.runtime.store()
    }
}
