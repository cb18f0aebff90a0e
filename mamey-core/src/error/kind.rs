//! What kind of failure an error is, and whether running again can help.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of failure an [`Error`](crate::Error) is.
///
/// The kind decides what follows, unless [`Error::with_retry`](crate::Error::with_retry) says
/// otherwise. A caller gets the error at once, with the advice in the second column; only a conflict
/// runs the handler again before that. A message has no caller that could try again, and what its
/// handler misses may be on its way in another message: it is retried as its
/// [`RetryPolicy`](crate::RetryPolicy) says.
///
/// | Kind | A caller's [`Retry`] | A message whose handler fails with it |
/// |---|---|---|
/// | `Rejected`, `Invalid` | `Never` | is a dead letter at once |
/// | `NotFound`, `AlreadyExists` | `Never` | is retried by its policy: the other message may not have arrived yet |
/// | `IdempotencyKeyReused`, `Unsupported`, `Misconfigured` | `Never` | is retried by its policy: a person or another build may mend it |
/// | `Conflict` | `Immediately` | runs again at once with fresh reads, then by its policy |
/// | `LimitExceeded`, `Unroutable`, `TimedOut`, `Other` | `Later` | is retried by its policy |
/// | `Unavailable`, `LeaseLost` | `Later` | is retried by its policy; while its store is out of reach, no attempt counts |
/// | `Unreadable` | `Later` | is parked for a build that can handle it, as long as its policy says |
/// | `Cancelled` | `Later` | is retried by its policy; by a shutdown, it is returned to where it came from |
///
/// A message that decodes and then fails its own validation is `Invalid`. With
/// `with_retry(Retry::Never)` an error of any kind makes its message a dead letter at once, and with
/// `Retry::Later` a rejection is retried.
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
    /// A requested document or handler does not exist.
    NotFound,
    /// A document changed since it was read; running again with fresh reads may succeed.
    Conflict,
    /// A unique field, an id or an idempotency key is taken.
    AlreadyExists,
    /// An idempotency key was used before, for another request.
    IdempotencyKeyReused,
    /// The backend or this build cannot do what was asked.
    Unsupported,
    /// This build has no handler for a message, or cannot read its version or its payload; another
    /// build may.
    Unreadable,
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
    pub(crate) const ALL: [Self; 16] = [
        Self::Rejected,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::AlreadyExists,
        Self::IdempotencyKeyReused,
        Self::Unsupported,
        Self::Unreadable,
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
            Self::Unreadable => "unreadable",
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
            | Self::Unreadable
            | Self::Other => Retry::Later,
            _ => Retry::Never,
        }
    }

    /// Whether no later run of a message's handler can help.
    pub(super) const fn is_final_for_messages(self) -> bool {
        matches!(self, Self::Rejected | Self::Invalid)
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
