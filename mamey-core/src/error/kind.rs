//! What kind of failure an error is, and whether running again can help.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of failure an [`Error`](crate::Error) is.
///
/// ```
/// use mamey::ErrorKind;
///
/// assert_eq!(ErrorKind::TimedOut.as_str(), "timed-out");
/// assert_eq!(ErrorKind::from_name("timed-out"), Some(ErrorKind::TimedOut));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A domain rule refused it; see [`Rejection`](crate::Rejection).
    Rejected,
    /// Input from outside is malformed or failed validation.
    Invalid,
    /// A requested document, message or handler does not exist.
    NotFound,
    /// A document changed since it was read; running again with fresh reads may succeed.
    Conflict,
    /// A unique field, an id or an idempotency key is taken.
    AlreadyExists,
    /// An idempotency key was used before, for another request.
    IdempotencyKeyReused,
    /// The backend or this build cannot do what was asked.
    Unsupported,
    /// Configuration or registration is wrong; a person has to fix it.
    Misconfigured,
    /// A named limit would be exceeded.
    LimitExceeded,
    /// A targeted message has no route to its target.
    Unroutable,
    /// A store or a broker cannot be reached or refuses work for now.
    Unavailable,
    /// The work did not finish within its time.
    TimedOut,
    /// The work was cancelled, for instance by a shutdown.
    Cancelled,
    /// Another instance holds the partition now.
    LeaseLost,
    /// Anything else: a failure of the user's own code, a panic, a broken invariant.
    Other,
}

impl ErrorKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 15] = [
        Self::Rejected,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::AlreadyExists,
        Self::IdempotencyKeyReused,
        Self::Unsupported,
        Self::Misconfigured,
        Self::LimitExceeded,
        Self::Unroutable,
        Self::Unavailable,
        Self::TimedOut,
        Self::Cancelled,
        Self::LeaseLost,
        Self::Other,
    ];

    /// The kind of a stable name, if this build knows it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind's stable name, as stored beside parked messages and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::AlreadyExists => "already-exists",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::Unsupported => "unsupported",
            Self::Misconfigured => "misconfigured",
            Self::LimitExceeded => "limit-exceeded",
            Self::Unroutable => "unroutable",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::LeaseLost => "lease-lost",
            Self::Other => "other",
        }
    }

    pub(super) const fn default_retry(self) -> Retry {
        match self {
            Self::Conflict => Retry::Immediately,
            Self::LimitExceeded
            | Self::Unroutable
            | Self::Unavailable
            | Self::TimedOut
            | Self::Cancelled
            | Self::LeaseLost
            | Self::Other => Retry::Later,
            _ => Retry::Never,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether running the same work again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Retry {
    /// The outcome would be the same.
    Never,
    /// Run again at once, with fresh reads.
    Immediately,
    /// Run again after a pause.
    Later,
}
