//! How large a body and a payload may be.

use crate::{Error, Result, Retry};

/// The largest body that a codec reads or writes unless configured otherwise, in bytes: 16 MiB.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest payload that can be published, in bytes: 15 MiB. The rest of [`BODY_BYTES_MAX`] is
/// for the attributes, so that what an outbox has taken also fits on the wire.
pub const PAYLOAD_BYTES_MAX: usize = BODY_BYTES_MAX - 1024 * 1024;

pub(super) fn within_limit(body: &[u8], body_bytes_max: usize) -> Result<()> {
    if body.len() <= body_bytes_max {
        return Ok(());
    }
    Err(Error::limit_exceeded(format!(
        "the message has {} bytes, the limit is {body_bytes_max}; \
         send a reference to the data or raise the codec's `body_bytes_max`",
        body.len()
    ))
    .with_retry(Retry::Never))
}

/// Refuses a payload that would not fit on the wire.
pub(crate) fn check_payload(bytes: usize) -> Result<()> {
    if bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "its payload has {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}; \
         send a reference to the data"
    );
    Err(Error::limit_exceeded(message).with_retry(Retry::Never))
}
