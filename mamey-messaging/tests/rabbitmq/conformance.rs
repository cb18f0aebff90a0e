//! Runs the transport suite on a real RabbitMQ, each case in a virtual host of its own.

use std::sync::Arc;

use mamey_conformance::{Absent, TransportHarness, transport_conformance};
use mamey_core::Result;
use mamey_core::transport::Transport;
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{or_absent, rabbitmq};

async fn harness() -> std::result::Result<TransportHarness, Absent> {
    let vhost = or_absent(rabbitmq::vhost().await)?;
    let url = vhost.url().to_owned();
    let harness = TransportHarness::new(connect(url.clone()).await.unwrap());
    Ok(harness.with_connect(move || connect(url.clone())).keeping(vhost))
}

async fn connect(url: String) -> Result<Arc<dyn Transport>> {
    Ok(Arc::new(RabbitTransport::connect(&url, RabbitOptions::default()).await?))
}

transport_conformance!(harness);
