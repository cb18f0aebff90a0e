//! The one error type of Mamey: what happened, whether to retry, and where.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of everything that can fail in Mamey.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A domain "no": a business rule was applied and the answer is final.
///
/// A rejection carries a stable `code` for programs and a message for people. It is never retried.
/// Derive it on a `thiserror` enum; `?` then turns it into an [`Error`] in any handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rejection, so `?` cannot turn it into a Mamey error",
    note = "derive `mamey::Rejection` on a domain error, or use `.map_err(mamey::Error::other)` on a technical one"
)]
pub trait Rejection: StdError + Send + Sync + 'static {
    /// The stable name of this refusal, such as `orders.empty`.
    fn code(&self) -> &'static str;
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A domain rule said no; see [`Rejection`].
    Rejected,
    /// Input from outside is malformed or failed validation.
    Invalid,
    /// A document, message or handler that was asked for does not exist.
    NotFound,
    /// A document changed since it was read; running again with fresh reads may succeed.
    Conflict,
    /// A unique field, an id or an idempotency key is taken.
    AlreadyExists,
    /// The backend or this build cannot do what was asked.
    Unsupported,
    /// Configuration or registration is wrong; a person has to mend it.
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
    /// A partition is held by another instance now.
    LeaseLost,
    /// Anything else: a failure of the user's own code, a panic, a broken invariant.
    Other,
}

impl ErrorKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 14] = [
        Self::Rejected,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::AlreadyExists,
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

    const fn default_retry(self) -> Retry {
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
pub enum Retry {
    /// The outcome would be the same.
    Never,
    /// Run again at once, with fresh reads.
    Immediately,
    /// Run again after a pause.
    Later,
}

/// Why something failed, whether to retry it, and what was being done.
///
/// One pointer wide. [`fmt::Display`] prints what was being done and what failed, outermost first;
/// [`fmt::Debug`] adds the kind and the chain of sources.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    code: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    doing: Vec<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of `kind`, with that kind's usual advice on retrying.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: kind.default_retry(),
            code: None,
            message: message.into(),
            doing: Vec::new(),
            source: None,
        }))
    }

    /// Wraps a failure that Mamey knows nothing about; it is retried later.
    #[must_use]
    pub fn other(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        Self::new(ErrorKind::Other, source.to_string()).with_source(source)
    }

    /// A rejection known only by code and message, for instance from another process.
    #[must_use]
    pub fn rejected(
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(ErrorKind::Rejected, message);
        error.0.code = Some(code.into());
        error
    }

    constructors! {
        /// Input is malformed or failed validation.
        invalid => Invalid;
        /// What was asked for does not exist.
        not_found => NotFound;
        /// A document changed since it was read.
        conflict => Conflict;
        /// A unique value is taken.
        already_exists => AlreadyExists;
        /// The backend or this build cannot do it.
        unsupported => Unsupported;
        /// Configuration or registration is wrong.
        misconfigured => Misconfigured;
        /// A named limit would be exceeded.
        limit_exceeded => LimitExceeded;
        /// A targeted message has no route.
        unroutable => Unroutable;
        /// A store or broker is out of reach.
        unavailable => Unavailable;
        /// The work took too long.
        timed_out => TimedOut;
        /// The work was cancelled.
        cancelled => Cancelled;
        /// Another instance holds the partition.
        lease_lost => LeaseLost;
    }

    /// Replaces the kind's usual advice on retrying.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Attaches the underlying failure.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says what was being done; the last call stands outermost.
    #[must_use]
    pub fn with_context(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.0.doing.push(doing.into());
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether running again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The rejection's stable code, if this is a rejection.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The message without what was being done.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The domain error behind this one, if it is an `E`.
    #[must_use]
    pub fn rejection<E: Rejection>(&self) -> Option<&E> {
        self.0.source.as_deref()?.downcast_ref()
    }
}

impl<E: Rejection> From<E> for Error {
    fn from(rejection: E) -> Self {
        Self::rejected(rejection.code(), rejection.to_string()).with_source(rejection)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.0.doing.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{}", self.0.kind)?;
        if let Some(code) = &self.0.code {
            write!(f, " {code}")?;
        }
        f.write_str("]")?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Adds what was being done to a failing [`Result`].
pub trait ResultExt<T> {
    /// Says what was being done, evaluated only on failure.
    ///
    /// # Errors
    /// The same error, with its context grown by one.
    fn with_context<C: Into<Cow<'static, str>>>(self, doing: impl FnOnce() -> C) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn with_context<C: Into<Cow<'static, str>>>(self, doing: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| error.with_context(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Empty;
    impl fmt::Display for Empty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an order needs at least one line")
        }
    }
    impl StdError for Empty {}
    impl Rejection for Empty {
        fn code(&self) -> &'static str {
            "orders.empty"
        }
    }

    fn place() -> Result<()> {
        Err(Empty)?;
        Ok(())
    }

    #[test]
    fn a_rejection_keeps_its_code_and_type_and_is_never_retried() {
        let error = place().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(error.retry(), Retry::Never);
        assert_eq!(error.code(), Some("orders.empty"));
        assert!(error.rejection::<Empty>().is_some());
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(ErrorKind::from_name("Rejected"), None);
    }

    #[test]
    fn context_reads_outermost_first() {
        let result: Result<()> = Err(Error::unavailable("connection refused"));
        let error = result
            .with_context(|| "loading orders/42")
            .with_context(|| "handling place-order")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "handling place-order: loading orders/42: connection refused"
        );
        assert_eq!(error.retry(), Retry::Later);
    }
}
