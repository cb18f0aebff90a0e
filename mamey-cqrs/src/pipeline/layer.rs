//! Step 2: layers, the user's own steps around every call, such as an audit or a tenant check.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::context::Cause;
use mamey_core::message::{ContextName, Metadata};
use mamey_core::{Error, Result};

/// A step of your own around every call of a context.
///
/// It sees what is being called and decides whether and when the call goes on. It never sees the
/// message or the reply: what depends on their types belongs in a handler.
///
/// Do not use it for timeouts, validation, retries or tracing: the pipeline has these.
///
/// ```
/// use mamey::{BoundedContext, Error, Invocation, Layer, Next, Result, async_trait};
///
/// struct TenantRequired;
///
/// #[async_trait]
/// impl Layer for TenantRequired {
///     async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
///         if invocation.cause.tenant.is_none() {
///             return Err(Error::invalid("a tenant is required"));
///         }
///         next.run(invocation).await
///     }
/// }
///
/// let orders = BoundedContext::new("orders").layer(TenantRequired);
/// # assert!(orders.check().is_ok());
/// ```
#[async_trait]
pub trait Layer: Send + Sync + 'static {
    /// Goes on with `next.run(invocation)`, or refuses the call with an error.
    ///
    /// It is called once per call: a run that is repeated after a conflict happens within `next`.
    /// When `next` has returned `Ok`, the effect is committed, and an error from here cannot undo
    /// it.
    ///
    /// # Errors
    /// Those of `next`, or the layer's own.
    ///
    /// # Cancellation
    /// A layer may drop `next`. Until the commit has begun, that undoes everything.
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()>;
}

/// What is being called.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Invocation<'a> {
    /// Whether it is a command, a query or a message.
    pub kind: InvocationKind,
    /// The message's stable name.
    pub name: &'static str,
    /// The bounded context that handles it.
    pub context: &'a ContextName,
    /// What caused the call.
    pub cause: &'a Cause,
    /// The metadata of the envelope, if it came in one.
    pub metadata: Option<&'a Metadata>,
    /// Which run of the message this is, counted from 1 over all deliveries.
    pub attempt: u32,
}

/// Whether a call is a command, a query or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvocationKind {
    /// A command of a caller in this process, or requested by another context.
    Command,
    /// A query of a caller in this process, or requested by another context.
    Query,
    /// An event or another message from a transport.
    Message,
}

/// The rest of the call: further layers, then the handler. It runs at most once.
///
/// ```
/// use std::time::Instant;
///
/// use mamey::{BoundedContext, Invocation, Layer, Next, Result, async_trait};
///
/// /// Prints how long each call took, its commit included.
/// struct Timing;
///
/// #[async_trait]
/// impl Layer for Timing {
///     async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
///         let start = Instant::now();
///         let result = next.run(invocation).await;
///         println!("{} {} took {:?}", invocation.kind, invocation.name, start.elapsed());
///         result
///     }
/// }
///
/// let orders = BoundedContext::new("orders").layer(Timing);
/// # assert!(orders.check().is_ok());
/// ```
#[must_use = "a layer that does not run `next` has to return an error"]
pub struct Next<'a> {
    layers: &'a [Arc<dyn Layer>],
    rest: Rest<'a>,
}

/// What the layers surround. The typed reply stays with its owner, so no layer sees it.
type Rest<'a> = Pin<&'a mut (dyn Future<Output = Result<()>> + Send + 'a)>;

impl<'a> Next<'a> {
    /// Goes on with the call.
    ///
    /// # Errors
    /// Those of the inner layers, of the handler and of the commit.
    pub async fn run(self, invocation: &Invocation<'_>) -> Result<()> {
        match self.layers.split_first() {
            Some((layer, layers)) => {
                let rest = self.rest;
                layer.call(invocation, Next { layers, rest }).await
            }
            None => self.rest.await,
        }
    }
}

impl<'a> Invocation<'a> {
    /// A call of a caller in this process, in its first attempt.
    #[must_use]
    pub const fn new(
        kind: InvocationKind,
        name: &'static str,
        context: &'a ContextName,
        cause: &'a Cause,
    ) -> Self {
        Self { kind, name, context, cause, metadata: None, attempt: 1 }
    }

    /// The metadata of the envelope that it came in.
    #[must_use]
    pub const fn with_metadata(mut self, metadata: &'a Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Which run of the message this is, counted from 1 over all deliveries.
    #[must_use]
    pub const fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }
}

impl InvocationKind {
    /// The kind's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Message => "message",
        }
    }
}

/// Runs `rest` within the layers, the first one outermost.
pub(super) async fn around<T: Send>(
    layers: &[Arc<dyn Layer>],
    invocation: &Invocation<'_>,
    rest: Pin<&mut (impl Future<Output = Result<T>> + Send)>,
) -> Result<T> {
    if layers.is_empty() {
        return rest.await;
    }
    let mut reply = None;
    {
        let rest = pin!(async {
            reply = Some(rest.await?);
            Ok(())
        });
        Next { layers, rest }.run(invocation).await?;
    }
    reply.ok_or_else(|| {
        Error::misconfigured(
            "a layer returned Ok without running `next`: run `next`, or return an error",
        )
    })
}

impl fmt::Display for InvocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl<L: Layer + ?Sized> Layer for Arc<L> {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        (**self).call(invocation, next).await
    }
}
