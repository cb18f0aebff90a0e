//! A command or a query before it is sent, with what its caller adds to it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use mamey_core::context::Cause;
use mamey_core::message::{CorrelationId, TraceContext};
use mamey_core::{Command, Query, Result};

use super::dispatch::{Dispatcher, refused};
use crate::pipeline::idempotency_key::{IdempotencyKey, IdempotentCommand, RememberedReply};

/// A command that is sent when it is awaited.
///
/// # Cancellation
/// Dropping the future before the commit has begun undoes everything. From then on the commit
/// continues without it.
///
/// ```
/// use mamey::{BoundedContext, Command, Context, Result, Service};
///
/// #[derive(Clone, Command)]
/// #[command(reply = u32)]
/// struct Reserve { seats: u32 }
///
/// async fn reserve(command: Reserve, _: &Context) -> Result<u32> {
///     Ok(command.seats)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let hall = BoundedContext::new("hall").command(reserve);
/// let service = Service::in_memory().host(hall).start().await?;
/// let seats = service.send(Reserve { seats: 2 }).tenant("acme").await?;
/// assert_eq!(seats, 2);
/// # service.shutdown().await }
/// ```
#[must_use = "a command is sent when it is awaited"]
pub struct CommandRequest<'r, C: Command> {
    dispatcher: &'r Dispatcher,
    command: C,
    cause: Cause,
    key: Option<Result<IdempotencyKey<C::Reply>>>,
}

/// A query that is asked when it is awaited.
///
/// ```
/// use mamey::{BoundedContext, Query, ReadContext, Result, Service};
///
/// #[derive(Query)]
/// #[query(reply = String)]
/// struct Greeting;
///
/// async fn greeting(_: Greeting, cx: &ReadContext) -> Result<String> {
///     Ok(format!("hello from {}", cx.tenant().unwrap_or("nobody")))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let hall = BoundedContext::new("hall").query(greeting);
/// let service = Service::in_memory().host(hall).start().await?;
/// assert_eq!(service.query(Greeting).await?, "hello from nobody");
/// assert_eq!(service.query(Greeting).tenant("acme").await?, "hello from acme");
/// # service.shutdown().await }
/// ```
#[must_use = "a query is asked when it is awaited"]
pub struct QueryRequest<'r, Q: Query> {
    dispatcher: &'r Dispatcher,
    query: Q,
    cause: Cause,
}

impl<'r, C: Command> CommandRequest<'r, C> {
    #[inline]
    pub(super) fn new(dispatcher: &'r Dispatcher, command: C) -> Self {
        Self { dispatcher, command, cause: Cause::default(), key: None }
    }

    /// Takes effect once under this key: sent again with it, the same command returns the first
    /// reply. Keys belong to one command and one tenant. A command that failed may be sent again.
    ///
    /// The same command is one with the same fields; the same key with other fields is refused as
    /// `IdempotencyKeyReused`, and nothing is done. A field that is `None` counts as absent, so a
    /// build that adds an optional field recognises what was sent to the build before; a request that
    /// is repeated across two [versions](mamey_core::Message::VERSION) of the command is taken for
    /// the same. A `HashSet` has another order each time: use a `BTreeSet`.
    ///
    /// A key has at most [`IDEMPOTENCY_KEY_BYTES_MAX`](crate::IDEMPOTENCY_KEY_BYTES_MAX) bytes and
    /// no control characters; otherwise the answer is `Invalid`.
    ///
    /// ```
    /// use mamey::{BoundedContext, Command, Context, ErrorKind, Id, Result, Service};
    /// use serde::Serialize;
    ///
    /// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
    /// struct ChargeId(mamey::Uuid);
    ///
    /// #[derive(Clone, Command, Serialize)]
    /// #[command(reply = ChargeId)]
    /// struct Charge { cents: i64 }
    ///
    /// async fn charge(_: Charge, cx: &Context) -> Result<ChargeId> {
    ///     Ok(cx.new_id())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// let payments = BoundedContext::new("payments").command(charge);
    /// let service = Service::in_memory().host(payments).start().await?;
    /// let first = service.send(Charge { cents: 420 }).idempotency_key("cart-7").await?;
    /// let again = service.send(Charge { cents: 420 }).idempotency_key("cart-7").await?;
    /// assert_eq!(again, first);
    ///
    /// let other = service.send(Charge { cents: 999 }).idempotency_key("cart-7").await;
    /// assert_eq!(other.unwrap_err().kind(), ErrorKind::IdempotencyKeyReused);
    /// # service.shutdown().await }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self
    where
        C: IdempotentCommand,
        C::Reply: RememberedReply,
    {
        self.key = Some(IdempotencyKey::new(key.into(), &self.command));
        self
    }

    /// Sets what caused the command, in place of everything set before.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// The tenant it is for.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.cause.tenant = Some(tenant.into());
        self
    }

    /// The trace it belongs to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.cause.trace = Some(trace);
        self
    }

    /// The id shared by everything that one outside request causes.
    pub fn correlation_id(mut self, id: impl Into<CorrelationId>) -> Self {
        self.cause.correlation_id = Some(id.into());
        self
    }
}

impl<'r, C: Command> IntoFuture for CommandRequest<'r, C> {
    type Output = Result<C::Reply>;
    type IntoFuture = BoxFuture<'r, Result<C::Reply>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { dispatcher, command, cause, key } = self;
        match dispatcher.check_open().and_then(|()| key.transpose()) {
            Ok(key) => dispatcher.command(command, cause, key, None),
            Err(error) => refused(error),
        }
    }
}

impl<'r, Q: Query> QueryRequest<'r, Q> {
    pub(super) fn new(dispatcher: &'r Dispatcher, query: Q) -> Self {
        Self { dispatcher, query, cause: Cause::default() }
    }

    /// Sets what caused the query, in place of everything set before.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// The tenant it is for.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.cause.tenant = Some(tenant.into());
        self
    }

    /// The trace it belongs to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.cause.trace = Some(trace);
        self
    }
}

impl<'r, Q: Query> IntoFuture for QueryRequest<'r, Q> {
    type Output = Result<Q::Reply>;
    type IntoFuture = BoxFuture<'r, Result<Q::Reply>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { dispatcher, query, cause } = self;
        match dispatcher.check_open() {
            Ok(()) => dispatcher.query(query, cause, None),
            Err(error) => refused(error),
        }
    }
}

impl<C: Command> fmt::Debug for CommandRequest<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandRequest")
            .field("context", self.dispatcher.name())
            .field("command", &C::NAME)
            .field("cause", &self.cause)
            .field("idempotency_key", &self.key)
            .finish()
    }
}

impl<Q: Query> fmt::Debug for QueryRequest<'_, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryRequest")
            .field("context", self.dispatcher.name())
            .field("query", &Q::NAME)
            .field("cause", &self.cause)
            .finish()
    }
}
