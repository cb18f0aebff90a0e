//! Says why a test did not get what it asked for, and whether its server is simply not there.

use std::error::Error as StdError;
use std::fmt::Write;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// Why a test did not get what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No URL names the server.
    #[error(
        "{variable} is not set, so there is no {server} to talk to; \
         run ./dev servers up and eval \"$(./dev servers env)\", or run ./dev test"
    )]
    Unset {
        /// What the server is called.
        server: &'static str,
        /// The environment variable that holds its URL.
        variable: &'static str,
    },
    /// The URL is there and the server is not.
    #[error("{server} does not answer at {url}, as {variable} says; run ./dev servers up")]
    Unreachable {
        /// What the server is called.
        server: &'static str,
        /// The environment variable that holds its URL.
        variable: &'static str,
        /// The URL without its secrets.
        url: String,
        /// What the client said.
        source: Source,
    },
    /// A program that the test runs is not installed.
    #[error("there is no {what}: {why}")]
    Missing {
        /// What the test needs.
        what: &'static str,
        /// Why it is not there.
        why: String,
    },
    /// The server answered no.
    #[error("{server} did not {action}")]
    Refused {
        /// What the server is called.
        server: &'static str,
        /// What it was asked to do.
        action: String,
        /// What the server or the client said.
        source: Source,
    },
    /// The node is not one that `./dev servers` runs here, so it cannot be paused.
    #[error("{node} is no node that ./dev servers runs, so it cannot be paused")]
    NotOurs {
        /// The node's name, or its port.
        node: String,
    },
    /// Only root can do it here.
    #[error("only root can {action}")]
    NeedsRoot {
        /// What was asked for.
        action: &'static str,
    },
    /// A URL is not of the form `scheme://[user[:password]@]host[:port][/path][?query]`.
    #[error("not a URL of one server: {url}")]
    Url {
        /// The URL without its secrets.
        url: String,
    },
}

impl Error {
    pub(crate) fn refused(
        server: &'static str,
        action: impl Into<String>,
        source: impl Into<Source>,
    ) -> Self {
        Self::Refused { server, action: action.into(), source: source.into() }
    }

    /// Whether the server or the program is not there, as opposed to there and unwilling.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unset { .. } | Self::Unreachable { .. } | Self::Missing { .. })
    }

    /// The message with those of its sources, on one line.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        text.replace('\n', " ")
    }
}
