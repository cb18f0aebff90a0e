//! A running service: the door for callers, the totals, and the orderly end.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use mamey_core::clock::Clock;
use mamey_core::context::{Cause, RequestOrigin, UnaddressedRequest};
use mamey_core::id::IdSource;
use mamey_core::store::{Database, Store};
use mamey_core::transport::{Publisher, Requester, Transport};
use mamey_core::{Command, Error, Query, Request, Result};
use mamey_cqrs::{CommandRequest, ContextRuntime, QueryRequest};
use tokio::time::{Instant, timeout_at};

use super::hosted::Hosted;
use super::signals::Signals;
use super::tasks::{self, Failure, Tasks};

/// How often to look whether everything has come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who asks on behalf of a service that hosts several contexts.
const SEVERAL: &str = "service";

/// A service at work. Clones are the same service.
///
/// Dropping the last clone without [`RunningService::shutdown`] stops the work where it is, as a
/// crash would: nothing is lost, and the next start goes on.
#[derive(Clone)]
pub struct RunningService(Arc<Inner>);

struct Inner {
    hosted: Vec<Hosted>,
    /// Which of the hosted contexts takes a command or a query, by its type.
    routes: HashMap<TypeId, usize>,
    backends: Backends,
    requester: Arc<dyn Requester>,
    tasks: Mutex<Option<Tasks>>,
    failure: Failure,
    drain: Duration,
}

/// What all contexts of a service share.
pub(super) struct Backends {
    pub(super) database: Arc<dyn Database>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
}

impl Backends {
    pub(super) async fn close(&self) {
        self.transport.close().await;
        self.database.close().await;
    }
}

/// Totals of a service over all contexts it hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that were confirmed and have left the outbox, over the store's life.
    pub published: u64,
    /// Messages that took effect, as far as the inbox remembers.
    pub handled: u64,
    /// Messages that wait in an outbox.
    pub waiting: u64,
    /// Messages that failed and wait to be handled again, with those behind them.
    pub parked: u64,
    /// Messages that were given up and wait for a person.
    pub dead_letters: u64,
    /// Messages for any subscriber of which there was none, in this run.
    pub no_subscriber: u64,
    /// Deliveries without effect because it had happened before, in this run.
    pub duplicates_absorbed: u64,
    /// Subscriptions that the transport ended, in this run. Each is made again; one that cannot be
    /// is counted with every try.
    pub subscription_failures: u64,
    /// Replies that came when their request waited no more, in this run.
    pub late_replies: u64,
}

impl RunningService {
    pub(super) fn new(
        hosted: Vec<Hosted>,
        backends: Backends,
        tasks: Tasks,
        drain: Duration,
    ) -> Self {
        let failure = tasks.failure.clone();
        let tasks = Mutex::new(Some(tasks));
        let routes = routes(&hosted);
        let requester = backends.transport.requester();
        Self(Arc::new(Inner { hosted, routes, backends, requester, tasks, failure, drain }))
    }

    /// Sends a command to the hosted context that handles it; await it, or first add what belongs
    /// to it, such as an idempotency key.
    ///
    /// The answer is the handler's reply, given after its commit. It is `NotFound` when no hosted
    /// context handles the command, `Cancelled` when the service is shutting down, and otherwise
    /// what the handler or the commit said.
    pub fn send<C: Command>(&self, command: C) -> CommandRequest<'_, C> {
        self.0.runtime_of(TypeId::of::<C>()).send(command)
    }

    /// Asks a query of the hosted context that answers it; await it, or first add what belongs to
    /// it. Fails as [`RunningService::send`] does.
    pub fn query<Q: Query>(&self, query: Q) -> QueryRequest<'_, Q> {
        self.0.runtime_of(TypeId::of::<Q>()).query(query)
    }

    /// Asks another context, wherever it runs, and waits for its reply:
    /// `service.request(message).to("context").await?`.
    ///
    /// A context that this service hosts is asked the same way, by what it `serves`. The request's
    /// sender is the hosted context, or `service` when there are several.
    pub fn request<R: Request>(&self, request: R) -> UnaddressedRequest<'_, R> {
        let Inner { backends, requester, .. } = &*self.0;
        let sender = match &*self.0.hosted {
            [only] => only.runtime.name().to_shared(),
            _ => SEVERAL.into(),
        };
        let origin = RequestOrigin::new(
            sender,
            &**requester,
            &*backends.clock,
            &*backends.ids,
            Cause::default(),
        );
        UnaddressedRequest::new(origin, request)
    }

    /// A hosted context, to send it a command that other hosted contexts handle too.
    ///
    /// # Errors
    /// `NotFound` when the service hosts no such context.
    pub fn context(&self, name: &str) -> Result<&ContextRuntime> {
        let hosted = self.0.hosted.iter().find(|hosted| hosted.name() == name);
        hosted
            .map(|hosted| &*hosted.runtime)
            .ok_or_else(|| Error::not_found(format!("this service hosts no context `{name}`")))
    }

    /// The share of the database of a hosted context, for operators' tools: depth of the outbox,
    /// dead letters to show, replay or discard.
    ///
    /// # Errors
    /// `NotFound` when the service hosts no such context.
    pub fn store(&self, context: &str) -> Result<Arc<dyn Store>> {
        self.context(context).map(|runtime| Arc::clone(runtime.store()))
    }

    /// The transport's publisher, to bring in messages from outside without an outbox.
    #[must_use]
    pub fn publisher(&self) -> Arc<dyn Publisher> {
        self.0.backends.transport.publisher()
    }

    /// Whether the transport reaches contexts of other processes.
    #[must_use]
    pub fn reaches_other_processes(&self) -> bool {
        self.0.backends.transport.capabilities().remote
    }

    /// Totals over all hosted contexts.
    ///
    /// # Errors
    /// `Unavailable` and the like.
    pub async fn totals(&self) -> Result<Totals> {
        let late_replies = self.0.requester.totals().late_replies;
        let mut totals = Totals { late_replies, ..Totals::default() };
        for hosted in &self.0.hosted {
            let outbox = hosted.store().outbox_depth().await?;
            let (parked, dead) =
                (hosted.store().parked_count().await?, hosted.store().dead_letter_count().await?);
            let received = hosted.store().received_count().await?;
            totals.published += outbox.published;
            totals.waiting += outbox.records;
            totals.parked += parked;
            totals.dead_letters += dead;
            totals.handled += received.saturating_sub(parked + dead);
            totals.no_subscriber += hosted.relayed.snapshot().no_subscriber;
            let consumed = hosted.consumed.snapshot();
            totals.duplicates_absorbed += consumed.duplicates_absorbed;
            totals.subscription_failures += consumed.subscription_failures;
        }
        Ok(totals)
    }

    /// Completes when no message waits in an outbox or in parking: everything that was set off has
    /// come to its end. For tests and one-shot programs on the in-process transport; messages
    /// inside a broker are not seen, and a message without a route never comes to rest.
    ///
    /// # Errors
    /// `Unavailable` and the like; `Cancelled` when the service ends before.
    pub async fn wait_until_idle(&self) -> Result<()> {
        let mut before = None;
        loop {
            if self.is_closed() {
                return Err(Error::cancelled("the service has ended before it came to rest"));
            }
            let now = self.totals().await?;
            let quiet = now.waiting == 0 && now.parked == 0;
            // Contexts are looked at one after the other; only two equal looks rule out that a
            // message moved from one not yet seen to one seen already.
            if quiet && before == Some(now) {
                return Ok(());
            }
            before = Some(now);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Completes when the process is asked to end by SIGTERM or Ctrl-C, or when a part of the
    /// service has failed for good; [`RunningService::shutdown`] then returns that failure.
    ///
    /// The signals are caught from the first call on; until then they end the process at once.
    pub async fn wait_for_shutdown(&self) {
        self.ended(Signals::listen()).await;
    }

    pub(super) async fn ended(&self, signals: Signals) {
        tokio::select! {
            () = signals.requested() => tracing::info!("asked to shut down"),
            () = self.0.failure.happened() => {}
        }
    }

    /// Ends the service in order: takes no new commands and messages, finishes what runs, gives
    /// back the rest, and closes store and transport. Again, it does nothing.
    ///
    /// # Errors
    /// `TimedOut` when the work did not end within the drain time: it was then cut off, which
    /// loses nothing; the failure that a part of the service ended with.
    pub async fn shutdown(&self) -> Result<()> {
        self.0.hosted.iter().for_each(|hosted| hosted.runtime.close());
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(tasks) = tasks else { return Ok(()) };
        let deadline = Instant::now() + self.0.drain;
        let drained = tasks.drain(deadline).await;
        let served = self.stop_serving(deadline).await;
        let drained = drained.and(served);
        self.0.backends.close().await;
        self.0.failure.take().map_or(drained, Err)
    }

    /// After the consumers, whose handlers may ask contexts of this same service.
    async fn stop_serving(&self, deadline: Instant) -> Result<()> {
        let serving = self.0.hosted.iter().filter_map(|hosted| hosted.serving.as_ref());
        let stopped = join_all(serving.map(|serving| serving.stop()));
        timeout_at(deadline, stopped).await.map(drop).map_err(|_| tasks::cut_off())
    }

    fn is_closed(&self) -> bool {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Inner {
    /// A message that nobody takes goes to the first context, whose answer then says so.
    fn runtime_of(&self, message: TypeId) -> &ContextRuntime {
        let at = self.routes.get(&message).copied().unwrap_or_default();
        &self.hosted[at].runtime
    }
}

fn routes(hosted: &[Hosted]) -> HashMap<TypeId, usize> {
    let mut routes = HashMap::new();
    for (at, hosted) in hosted.iter().enumerate() {
        let commands = hosted.runtime.command_types();
        for (message, _) in commands.chain(hosted.runtime.query_types()) {
            routes.entry(message).or_insert(at);
        }
    }
    routes
}

impl fmt::Debug for RunningService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contexts: Vec<_> = self.0.hosted.iter().map(Hosted::name).collect();
        f.debug_struct("RunningService").field("contexts", &contexts).finish_non_exhaustive()
    }
}
