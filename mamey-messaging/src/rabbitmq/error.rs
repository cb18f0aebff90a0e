//! Turns what the driver and the broker say into errors that say whether to retry.

use std::io;
use std::time::Duration;

use lapin::ErrorKind as Cause;
use lapin::types::ShortString;
use mamey_core::{Error, Result};
use tokio::time::timeout;

/// The reply code of what does not exist.
pub(super) const NOT_FOUND: u16 = 404;

/// The reply code of a declaration whose arguments differ from what exists, and of a message that is too
/// large.
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// How much of a name that is too long is repeated, in characters.
pub(super) const NAME_CHARS_SHOWN: usize = 64;

/// Reply codes that only a person can fix: no access, no such virtual host.
pub(super) const REFUSED: [u16; 2] = [403, 530];

/// A call failed: the connection or the channel cannot be used any more.
pub(super) fn failed(doing: &str, cause: lapin::Error) -> Error {
    Error::unavailable(format!("{doing}: {cause}")).with_source(cause)
}

/// A connection could not be made.
pub(super) fn refused(server: &str, cause: lapin::Error) -> Error {
    match reply_code(&cause) {
        Some(code) if REFUSED.contains(&code) => Error::misconfigured(format!(
            "RabbitMQ at {server} refuses the connection; check user, password, virtual host and \
             the user's permissions: {cause}"
        ))
        .with_source(cause),
        _ if is_insecure(&cause) => Error::misconfigured(format!(
            "no secure connection to RabbitMQ at {server}: check the host name, the server's \
             certificate and who signed it (`trusted_certificates`): {cause}"
        ))
        .with_source(cause),
        _ => failed(&format!("connecting to RabbitMQ at {server}"), cause),
    }
}

/// Whether the two sides could not agree on TLS, or the certificate is not trusted.
fn is_insecure(cause: &lapin::Error) -> bool {
    match cause.kind() {
        Cause::IOError(cause) => cause.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Whether something that was named does not exist.
pub(super) fn is_missing(cause: &lapin::Error) -> bool {
    reply_code(cause) == Some(NOT_FOUND)
}

/// What the broker says of the cause, if it said anything.
pub(super) fn reply_code(cause: &lapin::Error) -> Option<u16> {
    match cause.kind() {
        Cause::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Awaits a call of the driver, which waits without end when the other side is silent.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(Error::unavailable(format!("{doing}: RabbitMQ did not answer within {limit:?}")))
    })
}

/// As [`within`], for a call that fails with an error of the driver.
pub(super) async fn call<T>(
    limit: Duration,
    doing: &str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T> {
    within(limit, doing, async { call.await.map_err(|cause| failed(doing, cause)) }).await
}

/// A name as AMQP carries it.
///
/// # Errors
/// `Misconfigured` past 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString> {
    ShortString::try_new(name).map_err(|cause| {
        let start: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        Error::misconfigured(format!("`{start}…` is too long for RabbitMQ: {cause}"))
    })
}

/// The broker ended a subscription.
pub(super) fn cancelled(queue: &str) -> Error {
    Error::unavailable(format!(
        "the broker ended the subscription to queue `{queue}`: it was deleted or moved; it is \
         declared again"
    ))
}

/// The transport was closed.
pub(super) fn closed() -> Error {
    Error::unavailable("the transport to RabbitMQ is closed")
}
