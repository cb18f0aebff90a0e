//! A running service: what callers use, the totals, and the orderly end.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use mamey_core::clock::Clock;
use mamey_core::context::{Cause, RequestOrigin, UnaddressedRequest};
use mamey_core::id::IdSource;
use mamey_core::store::{Database, Store, UndeliveredStore};
use mamey_core::transport::{Publisher, RejectedMessages, Requester, Transport};
use mamey_core::{Command, Error, Query, Request, Result};
use mamey_cqrs::{CommandRequest, ContextRuntime, QueryRequest};
use tokio::time::{Instant, timeout_at};

use super::hosted::Hosted;
use super::signals::Signals;
use super::tasks::{self, Failure, Tasks};
use super::totals::Totals;

/// How often to look whether the service is idle.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The sender of a request from a service that hosts several contexts.
const SEVERAL: &str = "service";

/// A running service. Clones share it.
///
/// Dropping the last clone without [`RunningService::shutdown`] stops the work where it is, as a
/// crash would: nothing is lost, and the next start continues.
///
/// ```
/// use mamey::{BoundedContext, Command, Context, Query, ReadContext, Result, Service};
/// use serde::Serialize;
///
/// #[derive(Clone, Command, Serialize)]
/// #[command(reply = u64)]
/// struct Add { left: u64, right: u64 }
///
/// #[derive(Query)]
/// #[query(reply = u64)]
/// struct Double(u64);
///
/// async fn add(command: Add, _: &Context) -> Result<u64> { Ok(command.left + command.right) }
/// async fn double(query: Double, _: &ReadContext) -> Result<u64> { Ok(query.0 * 2) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let sums = BoundedContext::new("sums").command(add).query(double);
/// let service = Service::in_memory().host(sums).start().await?;
///
/// // With a key, a repeated command returns the first reply and has no second effect.
/// let sum = service.send(Add { left: 1, right: 2 }).idempotency_key("request-7").await?;
/// assert_eq!(service.query(Double(sum)).await?, 6);
///
/// service.wait_until_idle().await?;
/// service.shutdown().await
/// # }
/// ```
#[derive(Clone)]
pub struct RunningService(Arc<Inner>);

struct Inner {
    hosted: Vec<Hosted>,
    /// Which hosted context handles a command or a query, by its type.
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

    /// Sends a command to the hosted context that handles it. Await the result; before that, an
    /// idempotency key and other options can be added to it.
    ///
    /// The result is the handler's reply, returned after its commit. It fails with `NotFound` when no
    /// hosted context handles the command, with `Cancelled` when the service is shutting down, and
    /// otherwise with the error of the handler or of the commit.
    pub fn send<C: Command>(&self, command: C) -> CommandRequest<'_, C> {
        self.0.runtime_of(TypeId::of::<C>()).send(command)
    }

    /// Sends a query to the hosted context that answers it. Await the result. Fails as
    /// [`RunningService::send`] does.
    pub fn query<Q: Query>(&self, query: Q) -> QueryRequest<'_, Q> {
        self.0.runtime_of(TypeId::of::<Q>()).query(query)
    }

    /// Sends a request to another context, in this process or in another, and waits for its reply:
    /// `service.request(message).to("context").await?`.
    ///
    /// It reaches only what a context `serves`, also when this service hosts the context. The
    /// request's sender is the hosted context, or `service` when there are several.
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

    /// A hosted context, to send it a command that several hosted contexts handle.
    ///
    /// # Errors
    /// `NotFound` when the service hosts no such context.
    pub fn context(&self, name: &str) -> Result<&ContextRuntime> {
        let hosted = self.0.hosted.iter().find(|hosted| hosted.name() == name);
        hosted
            .map(|hosted| &*hosted.runtime)
            .ok_or_else(|| Error::not_found(format!("this service hosts no context `{name}`")))
    }

    /// The store of a hosted context, for operators' tools: depth of the outbox, dead letters to
    /// show, replay or discard.
    ///
    /// # Errors
    /// `NotFound` when the service hosts no such context.
    pub fn store(&self, context: &str) -> Result<Arc<dyn Store>> {
        self.context(context).map(|runtime| Arc::clone(runtime.store()))
    }

    /// What a hosted context has rejected: messages that it could neither read nor keep in its store,
    /// for operators' tools to list, replay or discard. What it could read and then failed is among
    /// the dead letters of its [`store`](RunningService::store).
    ///
    /// ```
    /// # use mamey::{BoundedContext, Result, RunningService, Service};
    /// async fn replay_all(service: &RunningService, context: &str) -> Result<u64> {
    ///     let rejected = service.rejected(context)?;
    ///     let (mut after, mut replayed) = (None, 0);
    ///     loop {
    ///         let page = rejected.list(after, 100).await?;
    ///         let Some(last) = page.last() else { return Ok(replayed) };
    ///         after = Some(last.id);
    ///         for message in &page {
    ///             println!("{} in {}: {}", message.reason, message.place, message.detail);
    ///         }
    ///         let ids: Vec<_> = page.iter().map(|message| message.id).collect();
    ///         replayed += rejected.replay(&ids).await?;
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let service = Service::in_memory().host(BoundedContext::new("orders")).start().await?;
    /// # assert_eq!(replay_all(&service, "orders").await?, 0);
    /// # service.shutdown().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the service hosts no such context, `Unsupported` on a transport that shows
    /// nothing of what was rejected.
    pub fn rejected(&self, context: &str) -> Result<Arc<dyn RejectedMessages>> {
        self.0.backends.transport.rejected(self.context(context)?.name())
    }

    /// The messages that a hosted context sent and that were given up before they were published, for
    /// operators' tools to list, replay or discard: without a route for as long as
    /// [`Settings::unroutable`](crate::Settings::unroutable) says, or never to be published, such as one
    /// that is larger than the broker takes. The later messages of their keys have gone on without them.
    ///
    /// ```
    /// # use mamey::{BoundedContext, Result, RunningService, Service};
    /// async fn replay_all(service: &RunningService, context: &str) -> Result<u64> {
    ///     let undelivered = service.undelivered(context)?;
    ///     let mut replayed = 0;
    ///     loop {
    ///         let page = undelivered.undelivered(None, 100).await?;
    ///         if page.is_empty() {
    ///             return Ok(replayed);
    ///         }
    ///         for message in &page {
    ///             let name = &message.envelope.metadata.name;
    ///             println!("{name}: {} ({})", message.failure.message, message.reason.as_str());
    ///         }
    ///         let ids: Vec<_> = page.iter().map(|message| message.id).collect();
    ///         replayed += undelivered.replay_undelivered(&ids).await?;
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let service = Service::in_memory().host(BoundedContext::new("orders")).start().await?;
    /// # assert_eq!(replay_all(&service, "orders").await?, 0);
    /// # service.shutdown().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the service hosts no such context.
    pub fn undelivered(&self, context: &str) -> Result<Arc<dyn UndeliveredStore>> {
        self.store(context).map(|store| store as Arc<dyn UndeliveredStore>)
    }

    /// The transport's publisher, to publish messages from outside without an outbox.
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
    /// `Unavailable` and other store errors.
    pub async fn totals(&self) -> Result<Totals> {
        let late_replies = self.0.requester.totals().late_replies;
        let mut totals = Totals { late_replies, ..Totals::default() };
        for hosted in &self.0.hosted {
            totals.add(hosted).await?;
            if let Ok(rejected) = self.0.backends.transport.rejected(hosted.runtime.name()) {
                totals.rejected.add(rejected.totals());
            }
        }
        Ok(totals)
    }

    /// Completes when no message waits in an outbox or in parking. For tests and one-shot programs on
    /// the in-process transport: messages inside a broker are not seen.
    ///
    /// It does not wait for what only another build can do: a record of an outbox that this one cannot
    /// read, and what its key has behind it. A message without a route is waited for until it is given up:
    /// [`Settings::unroutable`](crate::Settings::unroutable).
    ///
    /// # Errors
    /// `Unavailable` and other store errors; `Cancelled` when the service ends first.
    pub async fn wait_until_idle(&self) -> Result<()> {
        let mut before = None;
        loop {
            if self.is_closed() {
                return Err(Error::cancelled("the service ended before it was idle"));
            }
            let now = self.totals().await?;
            let quiet = now.waiting == now.waiting_unreadable && now.parked == 0;
            // Contexts are read one after the other. Only two equal readings rule out that a message
            // moved from a context not yet read to one already read.
            if quiet && before == Some(now) {
                return Ok(());
            }
            before = Some(now);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Completes on SIGTERM or Ctrl-C, or when a part of the service has failed permanently;
    /// [`RunningService::shutdown`] then returns that failure.
    ///
    /// The signals are caught from the first call on; before it they end the process at once.
    pub async fn wait_for_shutdown(&self) {
        self.ended(Signals::listen()).await;
    }

    pub(super) async fn ended(&self, signals: Signals) {
        tokio::select! {
            () = signals.requested() => tracing::info!("asked to shut down"),
            () = self.0.failure.happened() => {}
        }
    }

    /// Ends the service in order: takes no new commands and messages, finishes what runs, returns the
    /// rest to the transport, and closes store and transport. A second call does nothing.
    ///
    /// # Errors
    /// `TimedOut` when work did not end within [`Settings::drain`](crate::Settings::drain) and was cut
    /// off, which loses nothing; otherwise the failure that a part of the service ended with.
    ///
    /// # Cancellation
    /// Dropping the future cuts off what still runs, which loses nothing.
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

    /// After the consumers: their handlers may send requests to contexts of this service.
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
    /// A message that no context handles goes to the first one, whose error says so.
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
