//! A transport under test, and how to connect to its server once more.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mamey_core::Result;
use mamey_core::transport::Transport;

type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Transport>>> + Send + Sync>;

/// A transport under test, on a server that has nothing of ours yet.
#[must_use]
pub struct TransportHarness {
    pub(super) transport: Arc<dyn Transport>,
    connect: Option<Connect>,
    guards: Vec<Box<dyn Any + Send>>,
}

impl TransportHarness {
    /// A harness around a transport that no context was applied to.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, connect: None, guards: Vec::new() }
    }

    /// Keeps something until the case has ended, such as a virtual host.
    pub fn keeping(mut self, guard: impl Any + Send) -> Self {
        self.guards.push(Box::new(guard));
        self
    }

    /// How to connect to the same server once more; needed by a transport that is durable or remote.
    pub fn with_connect<F>(mut self, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Arc<dyn Transport>>> + Send + 'static,
    {
        self.connect = Some(Box::new(move || connect().boxed()));
        self
    }

    /// A transport over a connection of its own.
    pub(super) async fn another_connection(&self) -> Arc<dyn Transport> {
        let connect = self.connect.as_ref();
        let connect = connect.expect("a transport that is durable or remote needs `with_connect`");
        connect().await.unwrap()
    }
}

impl fmt::Debug for TransportHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportHarness({})", self.transport.describe())
    }
}
