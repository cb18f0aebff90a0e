//! Wakes the relays of other instances after a commit, and listens to theirs, so that no relay waits
//! for its next poll.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey_core::Backoff;
use mamey_core::message::ContextName;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::Connections;
use crate::common::lock::lock;
use crate::common::wakeup::Listeners;

/// The channel of all instances on one database. The payload is the name of the context.
const CHANNEL: &str = "mamey_outbox";

const NOTIFY: &str = "SELECT pg_notify($1, context) FROM unnest($2::text[]) AS context";

/// The pause between two notifications, each of which covers all commits since the one before.
const NOTIFY_PAUSE: Duration = Duration::from_millis(20);

/// How long a listener that receives nothing waits before it probes its connection.
const PROBE_AFTER: Duration = Duration::from_secs(15);

/// How long such a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between tries to connect.
const RECONNECT: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).with_jitter(0.0);

/// The wake-up between the instances on one database. It carries hints only: the next poll finds
/// what a lost hint was about.
pub(crate) struct Wakeup {
    contexts: Mutex<HashMap<ContextName, Arc<Listeners>>>,
    /// Notified when there is a change for other instances; none without other instances.
    remote: Option<Arc<Notify>>,
}

impl Wakeup {
    /// With other instances, or for this one alone.
    pub(crate) fn new(listen: bool) -> Self {
        Self { contexts: Mutex::default(), remote: listen.then(Arc::default) }
    }

    /// Who waits for changes to a context's outbox.
    pub(crate) fn listeners(&self, context: ContextName) -> Arc<Listeners> {
        let new = || match &self.remote {
            Some(remote) => Arc::new(Listeners::with_remote(Arc::clone(remote))),
            None => Arc::default(),
        };
        Arc::clone(lock(&self.contexts).entry(context).or_insert_with(new))
    }

    /// Starts to notify and to listen. The tasks end when they are dropped.
    ///
    /// Both connections are opened before this returns, so that no later change is missed. If one
    /// cannot be opened, its task keeps trying.
    pub(crate) async fn start(self: &Arc<Self>, connections: &Arc<Connections>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(changed) = &self.remote {
            let own = Arc::new(OwnSession::default());
            let (session, stream) =
                tokio::join!(open_session(connections, &own), open_stream(connections));
            let (wakeup, connections) = (Arc::clone(self), Arc::clone(connections));
            let notifier = Notifier {
                wakeup: Arc::clone(&wakeup),
                connections: Arc::clone(&connections),
                changed: Arc::clone(changed),
                own: Arc::clone(&own),
                pending: Vec::new(),
                failures: Failures::default(),
            };
            tasks.spawn(notifier.run_forever(session));
            let listener = Listener { wakeup, connections, own, failures: Failures::default() };
            tasks.spawn(listener.run_forever(stream));
        }
        tasks
    }

    /// The contexts with a change that other instances do not know, for the caller to notify them.
    fn take_changes(&self) -> Vec<String> {
        let contexts = lock(&self.contexts);
        let changed = contexts.iter().filter(|(_, listeners)| listeners.take_change());
        changed.map(|(context, _)| context.as_str().to_owned()).collect()
    }

    fn wake(&self, context: &str) {
        let contexts = lock(&self.contexts);
        if let Some((_, listeners)) = contexts.iter().find(|(name, _)| name.as_str() == context) {
            listeners.wake();
        }
    }

    /// After a time in which notifications may have been missed.
    fn wake_all(&self) {
        lock(&self.contexts).values().for_each(|listeners| listeners.wake());
    }
}

/// The session that this instance notifies from. It ignores its own notifications.
#[derive(Default)]
struct OwnSession(AtomicU32);

impl OwnSession {
    fn pid(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// Notifies other instances of this one's changes.
struct Notifier {
    wakeup: Arc<Wakeup>,
    connections: Arc<Connections>,
    changed: Arc<Notify>,
    own: Arc<OwnSession>,
    /// The contexts to notify of. After a broken session it is unknown whether they were, so they
    /// are notified of again.
    pending: Vec<String>,
    failures: Failures,
}

impl Notifier {
    async fn run_forever(mut self, mut opened: Result<PgConnection, sqlx::Error>) {
        loop {
            let cause = match opened {
                Ok(session) => self.run_until_lost(session).await,
                Err(cause) => cause,
            };
            self.failures.pause(&cause, "cannot notify other instances of new messages").await;
            opened = open_session(&self.connections, &self.own).await;
        }
    }

    async fn run_until_lost(&mut self, mut session: PgConnection) -> sqlx::Error {
        loop {
            if self.pending.is_empty() {
                self.changed.notified().await;
                self.pending = self.wakeup.take_changes();
            }
            if let Err(cause) = notify(&self.connections, &mut session, &self.pending).await {
                return cause;
            }
            self.failures.end("notifies other instances of new messages");
            self.pending.clear();
            sleep(NOTIFY_PAUSE).await;
        }
    }
}

async fn open_session(
    connections: &Connections,
    own: &OwnSession,
) -> Result<PgConnection, sqlx::Error> {
    let mut session = connections.connect().await?;
    let asked = sqlx::query_scalar("SELECT pg_backend_pid()").persistent(false);
    let pid: i32 = connections.in_time(asked.fetch_one(&mut session)).await?;
    own.0.store(pid.unsigned_abs(), Ordering::Release);
    Ok(session)
}

async fn notify(
    connections: &Connections,
    session: &mut PgConnection,
    contexts: &[String],
) -> Result<(), sqlx::Error> {
    let notify = sqlx::query(NOTIFY).persistent(connections.keeps_statements());
    let notify = notify.bind(CHANNEL).bind(contexts);
    connections.in_time(notify.execute(session)).await.map(drop)
}

/// Wakes this instance after the changes of others.
struct Listener {
    wakeup: Arc<Wakeup>,
    connections: Arc<Connections>,
    own: Arc<OwnSession>,
    failures: Failures,
}

impl Listener {
    async fn run_forever(mut self, mut opened: Result<PgListener, sqlx::Error>) {
        // The first connection is open before anybody waits for changes.
        let mut may_have_missed = false;
        loop {
            let cause = match opened {
                Ok(mut stream) => {
                    self.failures.end("listens for messages of other instances");
                    if may_have_missed {
                        self.wakeup.wake_all();
                    }
                    self.run_until_lost(&mut stream).await
                }
                Err(cause) => cause,
            };
            may_have_missed = true;
            self.failures.pause(&cause, "cannot listen for messages of other instances").await;
            opened = open_stream(&self.connections).await;
        }
    }

    async fn run_until_lost(&self, stream: &mut PgListener) -> sqlx::Error {
        loop {
            match timeout(PROBE_AFTER, stream.try_recv()).await {
                Ok(Ok(Some(sent))) if sent.process_id() == self.own.pid() => {}
                Ok(Ok(Some(sent))) => self.wakeup.wake(sent.payload()),
                Ok(Ok(None)) => return sqlx::Error::Io(ErrorKind::ConnectionAborted.into()),
                Ok(Err(cause)) => return cause,
                Err(_) => {
                    let probe = sqlx::raw_sql("SELECT 1").execute(&mut *stream);
                    match timeout(PROBE_TIMEOUT, probe).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(cause)) => return cause,
                        Err(_) => return sqlx::Error::Io(ErrorKind::TimedOut.into()),
                    }
                }
            }
        }
    }
}

async fn open_stream(connections: &Connections) -> Result<PgListener, sqlx::Error> {
    // The driver listens only on connections of its own pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(connections.connect_timeout())
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(connections.current().await?);
    let mut stream = PgListener::connect_with(&pool).await?;
    stream.eager_reconnect(false);
    stream.ignore_pool_close_event(true);
    connections.in_time(stream.listen(CHANNEL)).await?;
    Ok(stream)
}

/// Failures in a row: each is followed by a longer pause, and only the first is logged.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    async fn pause(&mut self, cause: &sqlx::Error, what: &str) {
        if self.0 == 0 {
            tracing::warn!(%cause, "this instance {what}; until it can, polling finds them");
        }
        sleep(RECONNECT.delay(self.0, 0.0)).await;
        self.0 = self.0.saturating_add(1);
    }

    fn end(&mut self, what: &str) {
        if self.0 > 0 {
            tracing::info!("this instance {what} again");
        }
        self.0 = 0;
    }
}
