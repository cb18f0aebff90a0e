//! Why the suite itself could not go on; a broken law is no error but a finding.

/// Why the suite could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A wrong option.
    #[error("{0}")]
    Usage(String),
    /// The machine does not do as told.
    #[error("{doing}: {cause}")]
    System { doing: &'static str, cause: std::io::Error },
    /// A server that the suite needs is not there, or does not do as told.
    #[error("{0}")]
    Server(String),
    /// A worker does not do its work.
    #[error("{0}")]
    Worker(String),
    /// What Mamey says to the suite.
    #[error(transparent)]
    Mamey(#[from] mamey::Error),
}

/// A result of the suite.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the machine said, with what was tried.
    pub(crate) fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::System { doing, cause }
    }
}

impl From<mamey_test_support::Error> for Error {
    fn from(error: mamey_test_support::Error) -> Self {
        Self::Server(error.to_string())
    }
}
