//! Why the suite itself failed. A broken law is a finding, not an error.

/// Why the suite failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A wrong option.
    #[error("{0}")]
    Usage(String),
    /// A call to the operating system failed.
    #[error("{doing}: {cause}")]
    System { doing: &'static str, cause: std::io::Error },
    /// A server that the suite needs is missing or could not be controlled.
    #[error("{0}")]
    Server(String),
    /// A worker does not work.
    #[error("{0}")]
    Worker(String),
    /// An error of Mamey in the suite itself.
    #[error(transparent)]
    Mamey(#[from] mamey::Error),
}

/// A result of the suite.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The operating system's error, with what was tried.
    pub(crate) fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::System { doing, cause }
    }
}

impl From<mamey_test_support::Error> for Error {
    fn from(error: mamey_test_support::Error) -> Self {
        Self::Server(error.to_string())
    }
}
