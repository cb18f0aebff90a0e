//! Ports of request and reply: one context asks another and waits for the answer.

use std::time::Duration;

use async_trait::async_trait;

use crate::message::Envelope;
use crate::{Error, Result};

/// How long a request waits for its reply unless its caller sets a timeout: 5 s.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The longest time that a request may wait for its reply: one minute. Send work that takes longer
/// as a message, and answer with another message.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// How many requests of one transport may wait for their replies at a time; further ones fail with
/// `Unavailable` at once.
pub const REQUESTS_WAITING_MAX: usize = 1024;

/// How many bytes of payloads the requests of one transport that wait for their replies may have: 64
/// MiB. Further ones fail with `Unavailable` at once; one alone may have more.
pub const REQUESTS_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many requests one instance of a context serves at a time. Beyond it, a transport without a
/// queue answers `Unavailable` at once; one with a queue keeps the same number waiting.
pub const REQUESTS_SERVED_MAX: usize = 256;

/// Sends requests to other contexts.
#[async_trait]
pub trait Requester: Send + Sync + 'static {
    /// Sends a request to the context that is its target, and returns the reply, which the caller
    /// reads with [`Envelope::into_answer`].
    ///
    /// Nothing is stored: a request is sent once and ends with its timeout. Requests have no order.
    ///
    /// # Errors
    /// `Unroutable` when no context serves its name, `TimedOut` when no reply came in time,
    /// `Unavailable` when too many requests wait, when the other side is full, or when the
    /// connection is lost; `LimitExceeded` when it is too large. After any of these but
    /// `Unroutable` and `LimitExceeded` it may still have been handled.
    ///
    /// # Cancellation
    /// The reply is no longer awaited; the request may still be handled.
    async fn request(&self, request: &Envelope, timeout: Duration) -> Result<Envelope>;

    /// What it did so far.
    fn totals(&self) -> RequestTotals;
}

/// What a requester did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTotals {
    /// Requests that received a reply: an answer or an error.
    pub replied: u64,
    /// Requests that timed out.
    pub timed_out: u64,
    /// Replies that arrived after the timeout and were dropped.
    pub late_replies: u64,
}

impl RequestTotals {
    /// These totals.
    #[must_use]
    pub const fn new(replied: u64, timed_out: u64, late_replies: u64) -> Self {
        Self { replied, timed_out, late_replies }
    }
}

/// Answers the requests to one context.
#[async_trait]
pub trait Responder: Send + Sync + 'static {
    /// The names of the requests it answers.
    fn serves(&self) -> Vec<&'static str>;

    /// Handles a request, and replies by [`Envelope::reply`]: with the answer, or with the error.
    /// A name that it does not serve is answered `Unroutable`.
    ///
    /// # Cancellation
    /// As for the handler: before its commit has begun, everything is undone.
    async fn respond(&self, request: Envelope) -> Envelope;
}

/// A context's requests being served. When dropped, it accepts no more.
#[async_trait]
pub trait Serving: Send + Sync + 'static {
    /// Stops accepting requests, and completes when all running ones are answered.
    ///
    /// # Cancellation
    /// Running requests continue.
    async fn stop(&self);
}

/// The requester of a context without a transport, such as one in a unit test: it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Unconnected;

#[async_trait]
impl Requester for Unconnected {
    async fn request(&self, request: &Envelope, _timeout: Duration) -> Result<Envelope> {
        Err(cannot_request(&format!("`{}` was requested, but", request.metadata.name)))
    }

    fn totals(&self) -> RequestTotals {
        RequestTotals::default()
    }
}

pub(super) fn cannot_request(what: &str) -> Error {
    Error::unsupported(format!(
        "{what} no transport here carries requests: use one that does, such as `memory:`"
    ))
}
