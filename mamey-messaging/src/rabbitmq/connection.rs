//! One connection to a cluster, made again on demand after it was lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, Event};
use mamey_core::{Backoff, Error, Result};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::{call, closed, failed, refused, within};
use super::log_filter::be_discreet;
use super::options::{RabbitOptions, RabbitUrl};

/// The pauses after a connection could not be made; whoever asks meanwhile gets the same error.
pub(super) const RECONNECT: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.5 };

/// How long closing in order may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is made when it is asked for, and again after it was lost.
///
/// There is no task that reconnects: whoever needs the connection makes it, one at a time, and its
/// own way of trying again is what brings it back.
pub(super) struct Link {
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
    /// Which of the URLs is next.
    url: usize,
}

/// A connection that was made.
pub(super) struct Live {
    connection: Connection,
    /// Counts the connections of its link, from 1.
    pub(super) number: u64,
    /// Why the broker takes nothing from publishers, while it does not.
    blocked: watch::Receiver<Option<String>>,
    watcher: JoinHandle<()>,
}

impl Link {
    pub(super) fn new(
        options: Arc<RabbitOptions>,
        purpose: &'static str,
        closed: CancellationToken,
    ) -> Self {
        Self { options, purpose, state: Mutex::default(), closed }
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
        let urls = self.options.urls();
        let mut last = Error::misconfigured("no URL of RabbitMQ is given");
        for _ in urls {
            let Some(url) = urls.get(state.url % urls.len()) else {
                break;
            };
            let number = state.made + 1;
            match self.connect_to(url, number).await {
                Ok(live) => {
                    state.made = number;
                    tracing::debug!(purpose = self.purpose, server = url.place, "connected");
                    return Ok(Arc::new(live));
                }
                Err(error) => {
                    tracing::warn!(purpose = self.purpose, %error, "no connection to RabbitMQ");
                    last = error;
                    state.url += 1;
                }
            }
        }
        Err(last)
    }

    async fn connect_to(&self, url: &RabbitUrl, number: u64) -> Result<Live> {
        let options = &self.options;
        let mut uri = url.uri.clone();
        let heartbeat = u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(heartbeat);
        let name = format!("mamey {}", self.purpose);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let tls =
            OwnedTLSConfig { identity: None, cert_chain: options.trusted_certificates.clone() };
        let doing = format!("connecting to RabbitMQ at {}", url.place);
        let connect = async {
            let runtime = lapin::runtime::default_runtime().map_err(|it| failed(&doing, it))?;
            let open = async move |uri: AMQPUri, runtime| {
                // The driver calls this on the thread that will read the connection.
                be_discreet();
                Ok(uri.connect_with_config_async(tls.as_ref(), &runtime).await?)
            };
            let connected = Connection::connector(uri, runtime, open, properties).await;
            connected.map_err(|cause| refused(&url.place, cause))
        };
        let connection = within(options.connect_timeout, &doing, connect).await?;
        Ok(Live::watch(connection, number, url.place.clone()))
    }

    /// Closes the connection; it is not made again.
    pub(super) async fn close(&self) {
        let live = self.state.lock().await.live.take();
        if let Some(live) = live {
            let close = live.connection.close(200, "OK".into());
            // Lost or silent, it is of no use either way.
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
                        tracing::info!(server, "the broker lets publishers go on");
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

    /// Waits while the broker takes nothing from publishers.
    pub(super) async fn unblocked(&self) {
        if self.blocked.borrow().is_none() {
            return;
        }
        let mut blocked = self.blocked.clone();
        // The watcher lives as long as this.
        let _ = blocked.wait_for(Option::is_none).await;
    }

    /// Why the broker takes nothing from publishers, while it does not.
    pub(super) fn why_blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Begins to receive from a queue, with so many messages unacknowledged at the most.
pub(super) async fn consume(
    channel: &Channel,
    queue: ShortString,
    prefetch: u16,
) -> lapin::Result<Consumer> {
    // A prefetch of 0 would mean no bound.
    channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue, "".into(), options, none).await
}

/// Closes a channel in order: what it left unacknowledged goes back to its queue in its place.
pub(super) async fn close_channel(channel: &Channel) {
    // Lost or silent, it goes with its connection.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, channel.close(200, "OK".into())).await;
}
