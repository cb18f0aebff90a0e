//! Picks the transport that a URL names.

use std::sync::Arc;

use mamey_core::transport::Transport;
use mamey_core::{Error, Result, redact_url};

use crate::memory::MemoryTransport;

/// Connects to the transport that `url` names.
///
/// | URL | Transport |
/// |---|---|
/// | `memory:` | [`MemoryTransport`], a new one with each call |
///
/// # Errors
/// `Misconfigured` for a URL that names no transport of this build.
pub async fn connect(url: &str) -> Result<Arc<dyn Transport>> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("memory") => memory(url),
        Some(scheme @ ("amqp" | "amqps")) => Err(Error::misconfigured(format!(
            "transport `{scheme}:` is not in this build; use `memory:`"
        ))),
        _ => Err(unknown(url)),
    }
}

fn memory(url: &str) -> Result<Arc<dyn Transport>> {
    match url {
        "memory:" | "memory://" => Ok(Arc::new(MemoryTransport::new())),
        _ => Err(Error::misconfigured(format!(
            "`{}` is no transport: `memory:` takes nothing after the colon",
            redact_url(url)
        ))),
    }
}

fn unknown(url: &str) -> Error {
    Error::misconfigured(format!("`{}` names no transport; known here: `memory:`", redact_url(url)))
}
