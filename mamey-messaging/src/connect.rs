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
/// | `amqp://…`, `amqps://…` | `RabbitTransport` (feature `rabbitmq`); several URLs with commas |
///
/// # Errors
/// `Misconfigured` for a URL that names no transport of this build, and as connecting to it.
pub async fn connect(url: &str) -> Result<Arc<dyn Transport>> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("memory") => memory(url),
        Some(scheme @ ("amqp" | "amqps")) => rabbitmq(scheme, url).await,
        _ => Err(unknown(url)),
    }
}

/// Whether [`connect`] understands a URL: what shows without touching a server.
///
/// # Errors
/// `Misconfigured`, as [`connect`] would say it.
pub fn check_url(url: &str) -> Result<()> {
    match url.split_once(':') {
        Some(("memory", _)) => check_memory(url),
        Some((scheme @ ("amqp" | "amqps"), _)) => check_rabbitmq(scheme, url),
        _ => Err(unknown(url)),
    }
}

fn memory(url: &str) -> Result<Arc<dyn Transport>> {
    check_memory(url)?;
    Ok(Arc::new(MemoryTransport::new()))
}

fn check_memory(url: &str) -> Result<()> {
    match url {
        "memory:" | "memory://" => Ok(()),
        _ => Err(Error::misconfigured(format!(
            "`{}` is no transport: `memory:` takes nothing after the colon",
            redact_url(url)
        ))),
    }
}

#[cfg(feature = "rabbitmq")]
async fn rabbitmq(_scheme: &str, url: &str) -> Result<Arc<dyn Transport>> {
    Ok(Arc::new(crate::rabbitmq::RabbitTransport::connect(url).await?))
}

#[cfg(feature = "rabbitmq")]
fn check_rabbitmq(_scheme: &str, url: &str) -> Result<()> {
    crate::rabbitmq::RabbitOptions::new(url).map(drop)
}

#[cfg(not(feature = "rabbitmq"))]
async fn rabbitmq(scheme: &str, _url: &str) -> Result<Arc<dyn Transport>> {
    Err(not_built(scheme))
}

#[cfg(not(feature = "rabbitmq"))]
fn check_rabbitmq(scheme: &str, _url: &str) -> Result<()> {
    Err(not_built(scheme))
}

#[cfg(not(feature = "rabbitmq"))]
fn not_built(scheme: &str) -> Error {
    Error::misconfigured(format!(
        "transport `{scheme}:` is not in this build: turn on the feature `rabbitmq`, or use \
         `memory:`"
    ))
}

fn unknown(url: &str) -> Error {
    let known = match cfg!(feature = "rabbitmq") {
        true => "`memory:`, `amqp://…`, `amqps://…`",
        false => "`memory:`; with the feature `rabbitmq` also `amqp://…`",
    };
    Error::misconfigured(format!("`{}` names no transport; known here: {known}", redact_url(url)))
}
