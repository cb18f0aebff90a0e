//! Picks the transport that a URL names, from one table of backends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mamey_core::connection::ConnectionUrl;
use mamey_core::transport::Transport;
use mamey_core::{Error, Result, redact_url};

/// A kind of transport: how its URLs begin, and what is done with them.
///
/// A row stays in the table when its feature is off, so that its URL is refused by an error that
/// names the feature.
struct Backend {
    /// What stands before the colon of its URLs.
    schemes: &'static [&'static str],
    /// The Cargo feature that builds it; `None` when it is always built.
    feature: Option<&'static str>,
    /// One of its URLs, for error texts.
    example: &'static str,
    /// Reads a URL without touching a server; `None` when the feature is off.
    check: Option<fn(&str) -> Result<()>>,
    /// Connects; `None` when the feature is off.
    connect: Option<Connect>,
}

type Connect = fn(ConnectionUrl) -> Pending<Arc<dyn Transport>>;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A function of a backend; `None` when its feature is off.
macro_rules! built {
    ($feature:literal, $function:expr) => {{
        #[cfg(feature = $feature)]
        {
            Some($function)
        }
        #[cfg(not(feature = $feature))]
        {
            None
        }
    }};
}

/// Every transport that there is. A new one is a folder, a `mod` line, a Cargo feature and a row
/// here.
const BACKENDS: &[Backend] = &[
    Backend {
        schemes: &["memory"],
        feature: None,
        example: "memory:",
        check: Some(crate::memory::check),
        connect: Some(|url| Box::pin(std::future::ready(crate::memory::connect(url.as_str())))),
    },
    Backend {
        schemes: &["amqp", "amqps"],
        feature: Some("rabbitmq"),
        example: "amqp://user:password@host/vhost",
        check: built!("rabbitmq", crate::rabbitmq::check),
        connect: built!("rabbitmq", |url| Box::pin(crate::rabbitmq::connect(url))),
    },
];

/// Connects to the transport that a URL names.
///
/// | URL | Transport |
/// |---|---|
/// | `memory:` | [`MemoryTransport`](crate::MemoryTransport), a new one for each call |
/// | `amqp://…`, `amqps://…` | `RabbitTransport` (feature `rabbitmq`); several URLs with commas |
///
/// ```
/// use mamey::messaging::connect;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mamey::Result<()> {
/// let transport = connect("memory:").await?;
/// assert_eq!(transport.capabilities().name, "memory");
///
/// let refused = connect("kafka://app:s3cret@broker").await.err().expect("it is not known");
/// assert!(!refused.to_string().contains("s3cret"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Misconfigured` for a URL that names no transport of this build, and as connecting to the
/// transport.
pub async fn connect(url: impl Into<ConnectionUrl>) -> Result<Arc<dyn Transport>> {
    let url = url.into();
    let backend = backend_of(url.as_str())?;
    let connect = backend.connect.ok_or_else(|| backend.not_built())?;
    connect(url).await
}

/// Whether [`connect`] understands a URL, as far as can be told without touching a server.
///
/// # Errors
/// `Misconfigured`, as [`connect`] gives it.
pub fn check_url(url: &str) -> Result<()> {
    let backend = backend_of(url)?;
    let check = backend.check.ok_or_else(|| backend.not_built())?;
    check(url)
}

impl Backend {
    fn not_built(&self) -> Error {
        let (example, feature) = (self.example, self.feature.unwrap_or_default());
        Error::misconfigured(format!(
            "this build has no transport for `{example}`: turn on the feature `{feature}`, or use \
             one that it has: {}",
            built()
        ))
    }
}

fn backend_of(url: &str) -> Result<&'static Backend> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    let has = |backend: &&Backend| scheme.is_some_and(|scheme| backend.schemes.contains(&scheme));
    BACKENDS.iter().find(has).ok_or_else(|| {
        Error::misconfigured(format!(
            "`{}` names no transport: this build has {}",
            redact_url(url),
            built()
        ))
    })
}

/// The URLs that this build accepts.
fn built() -> String {
    let built = BACKENDS.iter().filter(|backend| backend.check.is_some());
    let examples: Vec<_> = built.map(|backend| format!("`{}`", backend.example)).collect();
    examples.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_that_was_left_out_names_its_feature() {
        let left_out = Backend {
            schemes: &["amqp"],
            feature: Some("rabbitmq"),
            example: "amqp://host",
            check: None,
            connect: None,
        };
        let error = left_out.not_built();
        assert_eq!(error.kind(), mamey_core::ErrorKind::Misconfigured);
        assert!(error.to_string().contains("feature `rabbitmq`"), "{error}");
    }

    #[test]
    fn a_scheme_belongs_to_one_backend() {
        let mut seen = std::collections::HashSet::new();
        for scheme in BACKENDS.iter().flat_map(|backend| backend.schemes) {
            assert!(seen.insert(scheme), "{scheme}");
        }
    }

    #[test]
    fn a_row_is_built_as_a_whole_or_not_at_all() {
        for backend in BACKENDS {
            assert_eq!(backend.check.is_some(), backend.connect.is_some(), "{}", backend.example);
            assert!(backend.check.is_some() || backend.feature.is_some(), "{}", backend.example);
        }
    }
}
