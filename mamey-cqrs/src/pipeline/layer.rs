//! Layers: the user's own steps around every call of a context, such as an audit or a tenant check.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::context::Cause;
use mamey_core::message::{ContextName, Metadata};

/// A step of the user's own around every call of a context.
///
/// It sees what is being called and decides whether and when the call goes on. It never sees the
/// message or the reply: what depends on their types belongs into handlers.
///
/// When not to use it: for timeouts, validation, retries and tracing, which the pipeline has.
///
/// ```
/// use mamey_core::{Error, Result};
/// use mamey_cqrs::{Invocation, Layer, Next};
///
/// struct TenantRequired;
///
/// #[async_trait::async_trait]
/// impl Layer for TenantRequired {
///     async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
///         if invocation.cause.tenant.is_none() {
///             return Err(Error::invalid("a tenant is required"));
///         }
///         next.run(invocation).await
///     }
/// }
/// ```
#[async_trait]
pub trait Layer: Send + Sync + 'static {
    /// Goes on with `next.run(invocation)`, or refuses by an error.
    ///
    /// Once per call: runs that repeat because of a conflict happen within `next`. When `next` has
    /// returned `Ok`, the effect is committed, and an error from here cannot undo it.
    ///
    /// # Errors
    /// Those of `next`, or the layer's own.
    ///
    /// # Cancellation
    /// A layer may drop `next`: before the commit has begun, that undoes everything.
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
    /// What set the call off.
    pub cause: &'a Cause,
    /// The envelope's metadata, if it came in one.
    pub metadata: Option<&'a Metadata>,
    /// Which run of the message this is, counted from 1 over all deliveries.
    pub attempt: u32,
}

/// Whether a call is a command, a query or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvocationKind {
    /// A command of a caller in this process, or requested by another context.
    Command,
    /// A query of a caller in this process, or requested by another context.
    Query,
    /// An event or another message from a transport.
    Message,
}

/// The rest of the way: further layers, then the handler. It can be gone once.
#[must_use = "a layer that does not run `next` has to return an error"]
pub struct Next<'a> {
    layers: &'a [Arc<dyn Layer>],
    core: Core<'a>,
}

/// What the layers surround. It leaves the typed reply with its owner, so that no layer sees it.
pub(crate) type Core<'a> = Pin<&'a mut (dyn Future<Output = Result<()>> + Send + 'a)>;

impl<'a> Next<'a> {
    pub(crate) fn new(layers: &'a [Arc<dyn Layer>], core: Core<'a>) -> Self {
        Self { layers, core }
    }

    /// Goes on.
    ///
    /// # Errors
    /// Those of the layers within, of the handler and of the commit.
    pub async fn run(self, invocation: &Invocation<'_>) -> Result<()> {
        match self.layers.split_first() {
            Some((layer, layers)) => {
                let core = self.core;
                layer.call(invocation, Next { layers, core }).await
            }
            None => self.core.await,
        }
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
