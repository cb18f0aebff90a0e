//! Runs the transport suite on the in-process transport.

use std::sync::Arc;

use mamey_conformance::{Absent, TransportHarness, transport_conformance};
use mamey_messaging::MemoryTransport;

async fn harness() -> Result<TransportHarness, Absent> {
    Ok(TransportHarness::new(Arc::new(MemoryTransport::new())))
}

transport_conformance!(harness);
