//! Runs the transport suite on a real RabbitMQ, each case in a virtual host of its own.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::capabilities::TransportCapabilities;
use mamey_core::message::ContextName;
use mamey_core::transport::{
    Publisher, Requester, Responder, Serving, Subscriber, Subscription, Topology, Transport,
};
use mamey_messaging::RabbitTransport;
use mamey_test_support::or_skip;
use mamey_test_support::rabbitmq::{self, Vhost};

use crate::world::connect;

/// A transport that keeps its virtual host until it is dropped.
struct InVhost {
    transport: RabbitTransport,
    _vhost: Mutex<Vhost>,
}

async fn in_vhost() -> Option<Arc<dyn Transport>> {
    let vhost = or_skip(rabbitmq::vhost().await)?;
    let transport = connect(vhost.url()).await;
    Some(Arc::new(InVhost { transport, _vhost: Mutex::new(vhost) }))
}

#[async_trait]
impl Transport for InVhost {
    fn capabilities(&self) -> TransportCapabilities {
        self.transport.capabilities()
    }

    fn describe(&self) -> String {
        self.transport.describe()
    }

    async fn apply(&self, topology: &Topology) -> Result<()> {
        self.transport.apply(topology).await
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.transport.publisher()
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        self.transport.subscribe(subscription).await
    }

    fn requester(&self) -> Arc<dyn Requester> {
        self.transport.requester()
    }

    async fn serve(
        &self,
        context: &ContextName,
        responder: Arc<dyn Responder>,
    ) -> Result<Box<dyn Serving>> {
        self.transport.serve(context, responder).await
    }

    async fn ping(&self) -> Result<()> {
        self.transport.ping().await
    }

    async fn close(&self) {
        self.transport.close().await;
    }
}

mamey_conformance::transport_conformance!(in_vhost);
