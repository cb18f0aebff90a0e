//! Ports of request and reply: one context asks another and waits for the answer.

use std::time::Duration;

use async_trait::async_trait;

use crate::message::Envelope;
use crate::{Error, Result};

/// How long a request waits for its reply, unless its caller says otherwise: 5 s.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The longest that a request may wait for its reply: one minute. What takes longer is sent as a
/// message, and answered by another.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// How many requests of one transport may wait for their replies at a time; one more is
/// `Unavailable` at once.
pub const REQUESTS_WAITING_MAX: usize = 1024;

/// How many requests one instance of a context serves at a time. Beyond it a transport without a
/// queue answers `Unavailable` at once; one with a queue keeps as many again waiting.
pub const REQUESTS_SERVED_MAX: usize = 256;

/// Asks other contexts.
#[async_trait]
pub trait Requester: Send + Sync + 'static {
    /// Sends a request to the context that is its target, and returns the reply, which the caller
    /// reads with [`Envelope::into_answer`].
    ///
    /// Nothing is stored: a request is asked once and is gone with its timeout. Requests have no
    /// order among each other.
    ///
    /// # Errors
    /// `Unroutable` when no context serves its name, `TimedOut` when no reply came in time,
    /// `Unavailable` when too many requests wait, when the other side is full, or when the
    /// connection is lost; `LimitExceeded` when it is too large. After any of these but
    /// `Unroutable` and `LimitExceeded` it may have been handled all the same.
    ///
    /// # Cancellation
    /// Nobody waits any more; the request may be handled all the same.
    async fn request(&self, request: &Envelope, timeout: Duration) -> Result<Envelope>;

    /// What was asked so far.
    fn totals(&self) -> RequestTotals;
}

/// What a requester did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTotals {
    /// Requests that got their reply, be it an answer or an error.
    pub replied: u64,
    /// Requests whose time was over.
    pub timed_out: u64,
    /// Replies for which nobody waited any more; they were dropped.
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
    /// As of the handler: before its commit has begun, everything is undone.
    async fn respond(&self, request: Envelope) -> Envelope;
}

/// Requests are being served. Dropped, it takes nothing new.
#[async_trait]
pub trait Serving: Send + Sync + 'static {
    /// Takes nothing new, and completes when everything that runs has been answered.
    ///
    /// # Cancellation
    /// What runs goes on.
    async fn stop(&self);
}

/// The requester of a context that no transport connects, such as one in a test of its own.
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
        "{what} nothing here carries requests: use a transport that does, such as `memory:`"
    ))
}
