//! Turns what the driver and the broker say into errors that tell whether to retry.

use std::io;
use std::time::Duration;

use lapin::ErrorKind as Cause;
use lapin::types::ShortString;
use mamey_core::{Error, Result};
use tokio::time::timeout;

/// The reply code of a declaration whose arguments differ from what exists.
const PRECONDITION_FAILED: u16 = 406;

/// The reply code of what does not exist.
const NOT_FOUND: u16 = 404;

/// How much of a name that is too long is repeated, in characters.
const NAME_CHARS_SHOWN: usize = 64;

/// Reply codes that only a person can mend: no access, no such virtual host.
const REFUSED: [u16; 2] = [403, 530];

/// A call failed: the connection or the channel is of no use any more.
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

/// A declaration failed. One that differs from what exists is named: field, ours and theirs.
pub(super) fn not_declared(what: &str, cause: lapin::Error) -> Error {
    match reply_code(&cause) {
        Some(NOT_FOUND) => Error::misconfigured(format!(
            "{what} is not on the broker; have it made, or mend its name: {cause}"
        ))
        .with_source(cause),
        Some(PRECONDITION_FAILED) => drift(what, &cause.to_string()).with_source(cause),
        Some(code) if REFUSED.contains(&code) => Error::misconfigured(format!(
            "the broker refuses {what}; give the user the permission, or declare it beforehand: \
             {cause}"
        ))
        .with_source(cause),
        _ => failed(&format!("declaring {what}"), cause),
    }
}

fn drift(what: &str, text: &str) -> Error {
    let Some(Drift { field, ours, theirs }) = Drift::read(text) else {
        return Error::misconfigured(format!(
            "{what} exists and differs from what is declared here: {text}"
        ));
    };
    if field == super::topology::PARTITIONS_ARGUMENT {
        return Error::misconfigured(format!(
            "{what} exists for another number of partitions: ours is {ours}, the broker's is \
             {theirs}. Keys would change their queue and lose their order: set \
             `MAMEY_PARTITIONS` back, or drain and delete the context's queues first"
        ));
    }
    Error::misconfigured(format!(
        "{what} exists with another `{field}`: ours is {ours}, the broker's is {theirs}. Mend the \
         option, or drain it and delete it on the broker"
    ))
}

/// Which argument of a declaration differs, from the broker's sentence about it.
#[derive(Debug, PartialEq, Eq)]
struct Drift<'a> {
    field: &'a str,
    ours: &'a str,
    theirs: &'a str,
}

impl<'a> Drift<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (field, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once("received ")?;
        let (ours, theirs) = rest.split_once(" but current is ")?;
        Some(Self { field, ours: bare(ours), theirs: bare(theirs) })
    }
}

/// The broker tells some values with their AMQP type, which says nothing to people.
fn bare(value: &str) -> &str {
    let value = value.strip_prefix("the value ").unwrap_or(value);
    value.split_once(" of type ").map_or(value, |(value, _)| value)
}

/// Whether something that was named does not exist.
pub(super) fn is_missing(cause: &lapin::Error) -> bool {
    reply_code(cause) == Some(NOT_FOUND)
}

fn reply_code(cause: &lapin::Error) -> Option<u16> {
    match cause.kind() {
        Cause::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Awaits a call of the driver, which waits for ever when the other side falls silent.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(Error::unavailable(format!("{doing}: RabbitMQ did not answer within {limit:?}")))
    })
}

/// As [`within`], for what the driver answers by itself.
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

/// The transport was closed.
pub(super) fn closed() -> Error {
    Error::unavailable("the transport to RabbitMQ is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifted_argument_is_named_with_both_values() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'payments.0' \
                    in vhost '/': received 'quorum' but current is 'classic'";
        let error = drift("queue `payments.0`", text).to_string();
        for word in ["payments.0", "`x-queue-type`", "ours is 'quorum'", "is 'classic'"] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(Drift::read("PRECONDITION_FAILED - something else"), None);
        let text = "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but \
                    current is the value '5' of type 'signedint'";
        let drift_read = Drift::read(text);
        assert_eq!(drift_read, Some(Drift { field: "x-max-length", ours: "none", theirs: "'5'" }));
        let error = drift("queue `payments.0`", "something else").to_string();
        assert!(error.contains("something else"), "{error}");
    }
}
