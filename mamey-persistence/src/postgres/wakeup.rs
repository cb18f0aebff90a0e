//! Tells other instances of new messages, and hears of theirs, so that no relay waits for its poll.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// The pause between two notifications, which carry all news of the time between.
const NOTIFY_PAUSE: Duration = Duration::from_millis(20);

/// How often a listener that hears nothing makes sure that its connection lives.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// How long such a question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between two tries to connect grow from the first to the second.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The wake-up between the instances on one database. All of it is a hint: what is lost here is
/// found by the next poll.
pub(super) struct Wakeup {
    contexts: Mutex<HashMap<ContextName, Arc<Listeners>>>,
    bell: Option<Arc<Notify>>,
}

impl Wakeup {
    /// With other instances, or for this one alone.
    pub(super) fn new(listen: bool) -> Self {
        Self { contexts: Mutex::default(), bell: listen.then(Arc::default) }
    }

    /// Who waits for news of a context.
    pub(super) fn listeners(&self, context: ContextName) -> Arc<Listeners> {
        let new = || match &self.bell {
            Some(bell) => Arc::new(Listeners::with_remote(Arc::clone(bell))),
            None => Arc::default(),
        };
        Arc::clone(lock(&self.contexts).entry(context).or_insert_with(new))
    }

    /// Begins to tell and to listen. The tasks end when they are dropped.
    ///
    /// Both connections are made before this returns, so that news is heard from here on; where
    /// one cannot be made, its task goes on trying.
    pub(super) async fn start(self: &Arc<Self>, connections: &Arc<Connections>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(bell) = &self.bell {
            let own = Arc::new(OwnSession::default());
            let (session, listener) =
                tokio::join!(open_session(connections, &own), listen(connections));
            let tell = Tell { wakeup: Arc::clone(self), connections: Arc::clone(connections) };
            tasks.spawn(tell.for_ever(Arc::clone(bell), Arc::clone(&own), session));
            let hear = Hear { wakeup: Arc::clone(self), connections: Arc::clone(connections), own };
            tasks.spawn(hear.for_ever(listener));
        }
        tasks
    }

    /// The contexts that have news, which the caller now tells.
    fn take_news(&self) -> Vec<String> {
        let contexts = lock(&self.contexts);
        let with_news = contexts.iter().filter(|(_, listeners)| listeners.take_change());
        with_news.map(|(context, _)| context.as_str().to_owned()).collect()
    }

    fn wake(&self, context: &str) {
        let contexts = lock(&self.contexts);
        if let Some((_, listeners)) = contexts.iter().find(|(name, _)| name.as_str() == context) {
            listeners.wake();
        }
    }

    /// After a time in which nothing was heard.
    fn wake_all(&self) {
        lock(&self.contexts).values().for_each(|listeners| listeners.wake());
    }
}

/// The session that this instance tells others from: what comes from it is no news here.
#[derive(Default)]
struct OwnSession(AtomicU32);

impl OwnSession {
    fn pid(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// Tells the news of this instance.
struct Tell {
    wakeup: Arc<Wakeup>,
    connections: Arc<Connections>,
}

impl Tell {
    async fn for_ever(
        self,
        bell: Arc<Notify>,
        own: Arc<OwnSession>,
        mut opened: Result<PgConnection, sqlx::Error>,
    ) {
        let mut pauses = Pauses::default();
        // What a broken session left: whether it was told is not known, so it is told again.
        let mut untold = Vec::new();
        loop {
            let cause = match opened {
                Ok(session) => self.until_lost(session, &bell, &mut untold, &mut pauses).await,
                Err(cause) => cause,
            };
            pauses.after(&cause, "does not tell other instances of new messages").await;
            opened = open_session(&self.connections, &own).await;
        }
    }

    async fn until_lost(
        &self,
        mut session: PgConnection,
        bell: &Notify,
        untold: &mut Vec<String>,
        pauses: &mut Pauses,
    ) -> sqlx::Error {
        loop {
            if untold.is_empty() {
                bell.notified().await;
                *untold = self.wakeup.take_news();
            }
            if let Err(cause) = notify(&self.connections, &mut session, untold).await {
                return cause;
            }
            pauses.end("tells other instances of new messages");
            untold.clear();
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

/// Hears the news of other instances.
struct Hear {
    wakeup: Arc<Wakeup>,
    connections: Arc<Connections>,
    own: Arc<OwnSession>,
}

impl Hear {
    async fn for_ever(self, mut opened: Result<PgListener, sqlx::Error>) {
        let mut pauses = Pauses::default();
        // The first connection was there before anybody opened a context.
        let mut missed_some = false;
        loop {
            let cause = match opened {
                Ok(mut listener) => {
                    pauses.end("hears of the messages of other instances");
                    if missed_some {
                        self.wakeup.wake_all();
                    }
                    self.until_lost(&mut listener).await
                }
                Err(cause) => cause,
            };
            missed_some = true;
            pauses.after(&cause, "does not hear of the messages of other instances").await;
            opened = listen(&self.connections).await;
        }
    }

    async fn until_lost(&self, listener: &mut PgListener) -> sqlx::Error {
        loop {
            match timeout(PROBE_EVERY, listener.try_recv()).await {
                Ok(Ok(Some(news))) if news.process_id() == self.own.pid() => {}
                Ok(Ok(Some(news))) => self.wakeup.wake(news.payload()),
                Ok(Ok(None)) => return sqlx::Error::Io(ErrorKind::ConnectionAborted.into()),
                Ok(Err(cause)) => return cause,
                Err(_) => {
                    let probe = sqlx::raw_sql("SELECT 1").execute(&mut *listener);
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

async fn listen(connections: &Connections) -> Result<PgListener, sqlx::Error> {
    // The driver listens only on connections of its own pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(connections.connect_timeout())
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(connections.options().clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.ignore_pool_close_event(true);
    connections.in_time(listener.listen(CHANNEL)).await?;
    Ok(listener)
}

/// The pauses between tries that fail: each longer than the one before, and only the first said
/// aloud.
#[derive(Default)]
struct Pauses {
    failures: u32,
}

impl Pauses {
    async fn after(&mut self, cause: &sqlx::Error, what: &str) {
        if self.failures == 0 {
            tracing::warn!(%cause, "this instance {what}; until it does again, polling finds them");
        }
        let longer = RETRY_PAUSE_MIN.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        sleep(longer.min(RETRY_PAUSE_MAX)).await;
    }

    fn end(&mut self, what: &str) {
        if self.failures > 0 {
            tracing::info!("this instance {what} again");
        }
        self.failures = 0;
    }
}
