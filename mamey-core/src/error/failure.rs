//! The error type: what happened, whether to retry, and what was being done.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use super::kind::{ErrorKind, Retry};
use super::rejection::Rejection;

/// Why something failed, whether to retry it, and what was being done.
///
/// One pointer wide. [`fmt::Display`] prints what was being done and what failed, outermost first;
/// [`fmt::Debug`] adds the kind and the chain of sources.
///
/// ```
/// use mamey::{Error, ErrorKind, Result, ResultExt, Retry};
///
/// fn connect() -> Result<()> {
///     Err(Error::unavailable("connection refused"))
/// }
///
/// let error = connect().with_context(|| "asking the bank").unwrap_err();
/// assert_eq!(error.to_string(), "asking the bank: connection refused");
/// assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Later));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What [`Error::with_retry`] said; otherwise the kind decides.
    retry: Option<Retry>,
    of_store: bool,
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
    /// An error of `kind`, with the retry advice that is usual for it.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: None,
            of_store: false,
            code: None,
            message: message.into(),
            doing: Vec::new(),
            source: None,
        }))
    }

    /// Wraps any other failure; it is retried later.
    ///
    /// ```
    /// use mamey::{Error, Retry};
    ///
    /// fn parse(text: &str) -> mamey::Result<u16> {
    ///     text.parse().map_err(Error::other)
    /// }
    ///
    /// assert_eq!(parse("many").unwrap_err().retry(), Retry::Later);
    /// ```
    #[must_use]
    pub fn other(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        Self::new(ErrorKind::Other, source.to_string()).with_source(source)
    }

    /// A rejection of which only code and message are known, for example one from another process.
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
        /// An idempotency key was used before, for another request.
        idempotency_key_reused => IdempotencyKeyReused;
        /// The backend or this build cannot do it.
        unsupported => Unsupported;
        /// This build cannot handle or read a message; another build may.
        unreadable => Unreadable;
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

    /// Replaces the kind's usual retry advice, for callers and for messages.
    ///
    /// ```
    /// use mamey::{Error, Retry};
    ///
    /// let final_error = Error::unavailable("the account was closed").with_retry(Retry::Never);
    /// assert_eq!(final_error.retry(), Retry::Never);
    /// ```
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = Some(retry);
        self
    }

    /// Marks it as a failure of the context's store, not of the handler that called the store.
    #[must_use]
    pub fn of_store(mut self) -> Self {
        self.0.of_store = true;
        self
    }

    /// Attaches the underlying failure.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says what was being done; the last call is printed first.
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

    /// Whether running again can help, as a caller sees it.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry.unwrap_or(self.0.kind.default_retry())
    }

    /// Whether a message whose handler fails with this is given up at once, as
    /// [`ErrorKind`] has it in its table.
    ///
    /// ```
    /// use mamey::{Error, Retry};
    ///
    /// assert!(Error::invalid("a negative amount").is_final_for_messages());
    /// let early = Error::not_found("no such account");
    /// assert_eq!(early.retry(), Retry::Never, "a caller asked for nothing");
    /// assert!(!early.is_final_for_messages(), "the account may be opened by a later message");
    /// assert!(early.with_retry(Retry::Never).is_final_for_messages());
    /// ```
    #[must_use]
    pub fn is_final_for_messages(&self) -> bool {
        match self.0.retry {
            Some(retry) => retry == Retry::Never,
            None => self.0.kind.is_final_for_messages(),
        }
    }

    /// Whether the context's store failed, also when a handler has wrapped that failure in an error
    /// of its own.
    ///
    /// ```
    /// use mamey::Error;
    ///
    /// let failed = Error::unavailable("the disk is full").of_store();
    /// assert!(failed.is_of_store());
    /// assert!(Error::other(failed).is_of_store());
    /// assert!(!Error::unavailable("the bank does not answer").is_of_store());
    /// ```
    #[must_use]
    pub fn is_of_store(&self) -> bool {
        let wrapped = || self.0.source.as_deref()?.downcast_ref::<Self>();
        self.0.of_store || wrapped().is_some_and(Self::is_of_store)
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
    ///
    /// ```
    /// use mamey::{Error, Rejection};
    ///
    /// #[derive(Debug, thiserror::Error, Rejection)]
    /// #[error("only {left} left")]
    /// #[rejection(code = "stock.too-few")]
    /// struct TooFew {
    ///     left: u32,
    /// }
    ///
    /// let error = Error::from(TooFew { left: 3 });
    /// assert_eq!(error.rejection::<TooFew>().map(|too_few| too_few.left), Some(3));
    /// ```
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
