//! Why the rehearsal itself failed. A broken law is a finding, not an error.

/// Why the rehearsal failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A call to the operating system failed.
    #[error("{doing}: {cause}")]
    System { doing: &'static str, cause: std::io::Error },
    /// A server is missing.
    #[error("{0}")]
    Server(String),
    /// A process of the service does not work.
    #[error("{0}")]
    Worker(String),
    /// An error of Mamey in a process of the service.
    #[error(transparent)]
    Mamey(#[from] mamey::Error),
}

/// A result of the rehearsal.
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
