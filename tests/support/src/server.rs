//! Names the servers: what they are called and which variable holds their URL.

use std::env;
use std::future::Future;
use std::time::Duration;

use mamey_core::redact_url;

use crate::error::Source;
use crate::url::Url;
use crate::{Error, Result};

/// How long a server may take to answer at all; past it, it is not there.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One server of `./dev servers`, by the variable that holds its URL.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) variable: &'static str,
}

impl Server {
    /// The URL that the server's variable holds.
    ///
    /// # Errors
    ///
    /// [`Error::Unset`] where the variable is unset or empty.
    pub(crate) fn url(&self) -> Result<Url> {
        match env::var(self.variable) {
            Ok(url) if !url.is_empty() => Url::parse(&url),
            _ => Err(Error::Unset { server: self.name, variable: self.variable }),
        }
    }

    pub(crate) fn unreachable(&self, url: &Url, source: impl Into<Source>) -> Error {
        Error::Unreachable {
            server: self.name,
            variable: self.variable,
            url: redact_url(&url.to_text()),
            source: source.into(),
        }
    }

    pub(crate) fn refused(&self, action: &str, source: impl Into<Source>) -> Error {
        Error::refused(self.name, action, source)
    }

    /// The outcome of connecting, or [`Error::Unreachable`] after [`CONNECT_TIMEOUT`].
    pub(crate) async fn within_timeout<T>(
        &self,
        url: &Url,
        connecting: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(self.unreachable(url, elapsed)),
        }
    }
}
