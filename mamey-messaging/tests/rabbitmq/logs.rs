//! What is logged by all threads, and what never is.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mamey_core::ErrorKind;
use mamey_core::message::Target;
use mamey_core::transport::{Routed, Transport};
use mamey_test_support::{FaultProxy, Mode, rabbitmq, require};
use tokio::time::{Instant, sleep};
use tracing_subscriber::filter::LevelFilter;

use crate::world::{SOON, connect, context, event, persist, topology};

/// What all threads of this process have logged: the driver has threads of its own.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

static LOGS: LazyLock<Logs> = LazyLock::new(|| {
    let logs = Logs::default();
    let writer = logs.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    logs
});

impl Logs {
    /// Logs from here on, for the rest of the process.
    pub(crate) fn begin() -> Self {
        LOGS.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }

    pub(crate) async fn until_contain(&self, words: &str) {
        let end = Instant::now() + SOON;
        while !self.text().contains(words) {
            assert!(Instant::now() < end, "`{words}` is not logged: {}", self.text());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A card number, which must not appear in a log.
const SECRET: &str = "4539148803436467";

#[tokio::test]
async fn messages_that_the_broker_returns_are_not_printed() {
    let logs = Logs::begin();
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let url = proxy.url_for(vhost.url()).unwrap();
    let transport = connect(&url).await;
    transport.apply(&topology(1)).await.unwrap();
    // Both ways of publishing get it back.
    let mut unhandled = event("order-1", SECRET);
    unhandled.metadata.name = "orders.unheard-of".into();
    let routed = transport.publisher().publish(&unhandled).await.unwrap();
    assert_eq!(routed, Routed::NoSubscriber);
    let mut unrouted = event("order-1", SECRET);
    unrouted.metadata.target = Target::Service(context("nobody"));
    let error = transport.publisher().publish(&unrouted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unroutable);

    // The driver's other log lines still arrive, from the same thread.
    proxy.set(Mode::Reset).await.unwrap();
    logs.until_contain("ERROR lapin::").await;
    proxy.set(Mode::Forward).await.unwrap();
    persist(async || transport.ping().await).await;
    let (text, bytes) = (logs.text(), format!("{:?}", SECRET.as_bytes()));
    let shown = [SECRET, bytes.trim_matches(['[', ']'])];
    assert!(!shown.iter().any(|secret| text.contains(secret)), "{text}");
}
