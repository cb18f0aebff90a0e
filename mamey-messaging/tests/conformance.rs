//! Runs the transport suite on the in-process transport.

use std::sync::Arc;

use mamey_core::transport::Transport;
use mamey_messaging::MemoryTransport;

async fn memory() -> Arc<dyn Transport> {
    Arc::new(MemoryTransport::new())
}

mamey_conformance::transport_conformance!(memory);
