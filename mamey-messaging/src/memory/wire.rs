//! What the in-process transport carries: envelopes as they are, within the limits of every transport.

use mamey_core::message::{BODY_BYTES_MAX, Envelope};
use mamey_core::{Error, Result, Retry};

/// # Errors
/// `LimitExceeded` for a payload that is too large, and what the metadata's own check says.
pub(super) fn check(envelope: &Envelope) -> Result<()> {
    let (name, bytes) = (&envelope.metadata.name, envelope.payload.len());
    if bytes > BODY_BYTES_MAX {
        let error = Error::limit_exceeded(format!(
            "`{name}` has {bytes} bytes, the limit is {BODY_BYTES_MAX}; send a reference to the \
             data instead"
        ));
        return Err(error.with_retry(Retry::Never));
    }
    envelope.metadata.check()
}
