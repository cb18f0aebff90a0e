//! One connection to a cluster, made again on demand after it was lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use mamey_core::{Backoff, Error, Result};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access;
use super::error::{call, closed, failed, refused, within};
use super::log_filter;
use super::options::RabbitOptions;
use super::urls::{BrokerUrl, Urls};

/// The pauses after a failed attempt to connect; calls in between get its error.
pub(super) const RECONNECT: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// How long closing in order may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is made when it is needed, and again after it was lost.
///
/// No task reconnects: the caller that needs the connection makes it, one at a time, and callers
/// have their own ways of trying again.
pub(super) struct Link {
    urls: Arc<Urls>,
    options: Arc<RabbitOptions>,
    purpose: &'static str,
    state: Mutex<State>,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    made: u64,
    failures: u32,
    failed: Option<(Instant, String)>,
    /// The number of the next try, which picks the URL.
    tries: usize,
}

/// A connection that was made.
pub(super) struct Live {
    connection: Connection,
    /// Counts the connections of its link, from 1.
    pub(super) number: u64,
    /// Why the broker blocks publishers, while it does.
    blocked: watch::Receiver<Option<String>>,
    watcher: JoinHandle<()>,
}

impl Link {
    pub(super) fn new(
        urls: Arc<Urls>,
        options: Arc<RabbitOptions>,
        purpose: &'static str,
        closed: CancellationToken,
    ) -> Self {
        Self { urls, options, purpose, state: Mutex::default(), closed }
    }

    /// The connection, made if there is none.
    pub(super) async fn get(&self) -> Result<Arc<Live>> {
        let mut state = self.state.lock().await;
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        if let Some(live) = state.live.as_ref().filter(|live| live.is_connected()) {
            return Ok(Arc::clone(live));
        }
        state.live = None;
        if let Some((until, why)) = &state.failed
            && Instant::now() < *until
        {
            return Err(Error::unavailable(why.clone()));
        }
        match self.connect(&mut state).await {
            Ok(live) => {
                state.failures = 0;
                state.failed = None;
                state.live = Some(Arc::clone(&live));
                Ok(live)
            }
            Err(error) => {
                let pause = RECONNECT.delay(state.failures, fastrand::f64());
                state.failures = state.failures.saturating_add(1);
                state.failed = Some((Instant::now() + pause, error.to_string()));
                Err(error)
            }
        }
    }

    /// Tries each URL once, beginning with the one that worked last.
    async fn connect(&self, state: &mut State) -> Result<Arc<Live>> {
        let mut last = Error::misconfigured("no URL of RabbitMQ is given");
        for _ in 0..self.urls.len() {
            let Some(url) = self.urls.for_try(state.tries) else {
                break;
            };
            let number = state.made + 1;
            match self.connect_to(url, number).await {
                Ok(live) => {
                    state.made = number;
                    tracing::debug!(purpose = self.purpose, server = url.server, "connected");
                    return Ok(Arc::new(live));
                }
                Err(error) => {
                    tracing::warn!(purpose = self.purpose, %error, "connecting to RabbitMQ failed");
                    last = error;
                    state.tries = state.tries.wrapping_add(1);
                }
            }
        }
        Err(last)
    }

    async fn connect_to(&self, url: &BrokerUrl, number: u64) -> Result<Live> {
        let name = format!("mamey {}", self.purpose);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let doing = format!("connecting to RabbitMQ at {}", url.server);
        let connect = async {
            let uri = access::login(url, &self.options).await?;
            let tls = access::tls(url, &self.options)?;
            let runtime = lapin::runtime::default_runtime().map_err(|it| failed(&doing, it))?;
            let open = async move |uri: AMQPUri, runtime| {
                // The driver calls this on the thread that will read the connection.
                log_filter::install();
                Ok(uri.connect_with_config_async(tls.as_ref(), &runtime).await?)
            };
            let connected = Connection::connector(uri, runtime, open, properties).await;
            connected.map_err(|cause| refused(&url.server, cause))
        };
        let limit = url.parameters.connect_timeout.unwrap_or(self.options.connect_timeout);
        let connection = within(limit, &doing, connect).await?;
        Ok(Live::watch(connection, number, url.server.clone()))
    }

    /// Closes the connection; it is not made again.
    pub(super) async fn close(&self) {
        let live = self.state.lock().await.live.take();
        if let Some(live) = live {
            let close = live.connection.close(200, "OK".into());
            // It may be lost or silent; it is dropped either way.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
        }
    }
}

impl Live {
    fn watch(connection: Connection, number: u64, server: String) -> Self {
        let (tell, blocked) = watch::channel(None);
        let mut events = connection.events_listener();
        let watcher = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(why) => {
                        tracing::warn!(server, why, "the broker blocks publishers");
                        tell.send_replace(Some(why));
                    }
                    Event::ConnectionUnblocked => {
                        tracing::info!(server, "the broker no longer blocks publishers");
                        tell.send_replace(None);
                    }
                    _ => {}
                }
            }
        });
        Self { connection, number, blocked, watcher }
    }

    fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    pub(super) async fn open_channel(&self, limit: Duration) -> Result<Channel> {
        call(limit, "opening a channel", self.connection.create_channel()).await
    }

    /// Waits while the broker blocks publishers.
    pub(super) async fn unblocked(&self) {
        if self.blocked.borrow().is_none() {
            return;
        }
        let mut blocked = self.blocked.clone();
        // The watcher lives as long as this.
        let _ = blocked.wait_for(Option::is_none).await;
    }

    /// Why the broker blocks publishers, while it does.
    pub(super) fn why_blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}
