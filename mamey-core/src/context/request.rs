//! A request to another context: its target, its timeout and its origin.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::cause::Cause;
use crate::clock::Clock;
use crate::id::IdSource;
use crate::message::{
    CONTENT_TYPE_JSON, ContextName, CorrelationId, Envelope, Headers, IDEMPOTENCY_KEY_HEADER,
    Metadata, Request, Target, TraceContext, check_payload,
};
use crate::transport::{REQUEST_TIMEOUT_DEFAULT, REQUEST_TIMEOUT_MAX, Requester};
use crate::{Error, Result, ResultExt, Retry};

/// Who asks, on whose behalf, and through what.
#[derive(Clone)]
#[non_exhaustive]
pub struct RequestOrigin<'a> {
    /// The context that sends the request, or another name of the sender.
    pub sender: Arc<str>,
    /// What carries the request.
    pub requester: &'a dyn Requester,
    /// Where the time comes from.
    pub clock: &'a dyn Clock,
    /// Where the request's id comes from.
    pub ids: &'a dyn IdSource,
    /// What caused the request.
    pub cause: Cause,
}

impl<'a> RequestOrigin<'a> {
    /// An origin of these parts.
    #[must_use]
    pub const fn new(
        sender: Arc<str>,
        requester: &'a dyn Requester,
        clock: &'a dyn Clock,
        ids: &'a dyn IdSource,
        cause: Cause,
    ) -> Self {
        Self { sender, requester, clock, ids, cause }
    }
}

/// A request without a target.
#[must_use = "say whom to ask, as `.to(\"catalog\")`, and await it"]
pub struct UnaddressedRequest<'a, R> {
    origin: RequestOrigin<'a>,
    request: R,
}

/// A request that is sent when it is awaited.
///
/// A request that failed with `TimedOut` or `Unavailable` may have taken effect in the other
/// context: give a command an [`idempotency_key`](Self::idempotency_key), and it is safe to repeat.
///
/// ```
/// use std::time::Duration;
/// use mamey::{Command, Context, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command, Serialize, Deserialize)]
/// #[command(name = "payments.reserve", reply = u64)]
/// pub struct Reserve {
///     pub cents: i64,
/// }
///
/// async fn reserve(cents: i64, cx: &Context) -> Result<u64> {
///     let key = cx.message_id().to_string();
///     let request = cx.request(Reserve { cents }).to("payments");
///     request.idempotency_key(key).timeout(Duration::from_secs(2)).await
/// }
/// ```
///
/// # Cancellation
/// When dropped, the reply is no longer awaited; the request may still be handled.
#[must_use = "a request is sent when it is awaited"]
pub struct AddressedRequest<'a, R> {
    origin: RequestOrigin<'a>,
    request: R,
    target: String,
    timeout: Duration,
    idempotency_key: Option<String>,
}

impl<'a, R: Request> UnaddressedRequest<'a, R> {
    /// A request of this origin.
    pub const fn new(origin: RequestOrigin<'a>, request: R) -> Self {
        Self { origin, request }
    }

    /// The bounded context that the request is for.
    pub fn to(self, context: impl Into<String>) -> AddressedRequest<'a, R> {
        let Self { origin, request } = self;
        AddressedRequest {
            origin,
            request,
            target: context.into(),
            timeout: REQUEST_TIMEOUT_DEFAULT,
            idempotency_key: None,
        }
    }
}

impl<R: Request> AddressedRequest<'_, R> {
    /// How long to wait for the reply, from 1 ms to [`REQUEST_TIMEOUT_MAX`];
    /// [`REQUEST_TIMEOUT_DEFAULT`] unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes a command take effect once under this key in the other context, which returns the
    /// first reply for every repetition. In a handler derive the key from
    /// [`message_id`](super::ReadContext::message_id), which is the same in every run. It has no
    /// effect on a query.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The tenant it is for.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.origin.cause.tenant = Some(tenant.into());
        self
    }

    /// The trace it belongs to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.origin.cause.trace = Some(trace);
        self
    }

    /// The id that everything caused by one outside request shares.
    pub fn correlation_id(mut self, id: impl Into<CorrelationId>) -> Self {
        self.origin.cause.correlation_id = Some(id.into());
        self
    }

    async fn ask(self) -> Result<R::Reply> {
        let doing = format!("requesting `{}` of context `{:.48}`", R::NAME, self.target);
        self.answer().await.with_context(|| doing)
    }

    async fn answer(self) -> Result<R::Reply> {
        self.check_timeout()?;
        let request = self.envelope()?;
        let reply = self.origin.requester.request(&request, self.timeout).await?;
        let from = reply.metadata.sender.clone();
        let answer = reply.into_answer(&request.metadata)?;
        serde_json::from_slice(&answer).map_err(|cause| {
            Error::invalid(format!(
                "the answer of context `{from:.48}` is not a reply to version {} of `{}`: {cause}",
                R::VERSION,
                R::NAME
            ))
            .with_source(cause)
            // Another build may read it.
            .with_retry(Retry::Later)
        })
    }

    fn check_timeout(&self) -> Result<()> {
        let least = Duration::from_millis(1);
        if (least..=REQUEST_TIMEOUT_MAX).contains(&self.timeout) {
            return Ok(());
        }
        Err(Error::misconfigured(format!(
            "the timeout of a request is {:?}; it must be from {least:?} to {REQUEST_TIMEOUT_MAX:?}",
            self.timeout
        )))
    }

    fn envelope(&self) -> Result<Envelope> {
        let Self { origin, request, .. } = self;
        let RequestOrigin { sender, clock, ids, cause, .. } = origin;
        let payload = request.encode()?;
        check_payload(payload.len())?;
        let mut headers = Headers::default();
        if let Some(key) = &self.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY_HEADER, key.clone())?;
        }
        let id = ids.message_id();
        let trace = match &cause.trace {
            Some(trace) => trace.child(*ids),
            None => TraceContext::root(*ids),
        };
        let metadata = Metadata {
            id,
            name: R::NAME.into(),
            version: R::VERSION,
            sender: Arc::clone(sender),
            target: Target::Service(ContextName::new(&self.target)?),
            correlation_id: cause.correlation_id.clone().unwrap_or_else(|| id.into()),
            causation_id: cause.causation_id.clone().or(cause.message_id.map(Into::into)),
            time: clock.now(),
            key: request.key(),
            tenant: cause.tenant.clone(),
            trace: Some(trace),
            content_type: CONTENT_TYPE_JSON.into(),
            must_route: true,
            headers,
        };
        metadata.check()?;
        Ok(Envelope { metadata, payload })
    }
}

impl<'a, R: Request> IntoFuture for AddressedRequest<'a, R> {
    type Output = Result<R::Reply>;
    type IntoFuture = BoxFuture<'a, Result<R::Reply>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<R: Request> fmt::Debug for UnaddressedRequest<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaddressedRequest").field("request", &R::NAME).finish_non_exhaustive()
    }
}

impl<R: Request> fmt::Debug for AddressedRequest<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressedRequest")
            .field("request", &R::NAME)
            .field("target", &self.target)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestOrigin")
            .field("sender", &self.sender)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}
