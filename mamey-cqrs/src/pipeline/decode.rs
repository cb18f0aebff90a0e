//! Step 3: reads a message from the payload of its envelope.

use mamey_core::message::{CONTENT_TYPE_JSON, Envelope, Metadata, is_json};
use mamey_core::{Error, Message, Result};
use serde::de::DeserializeOwned;

/// Reads a message from its payload, upcasting an older version.
pub(crate) fn decode<M: Message + DeserializeOwned>(envelope: &Envelope) -> Result<M> {
    let Metadata { content_type, version, .. } = &envelope.metadata;
    // A codec writes a payload without a media type as JSON; a handler refuses to guess.
    if content_type.is_empty() || !is_json(content_type) {
        return Err(Error::unsupported(format!(
            "the payload is `{content_type:.64}`; only `{CONTENT_TYPE_JSON}` is read"
        )));
    }
    M::decode(*version, &envelope.payload)
}

/// Reads a message for its handler. What this build cannot read waits for one that can.
pub(crate) fn decode_for_handler<M: Message + DeserializeOwned>(envelope: &Envelope) -> Result<M> {
    decode(envelope).map_err(|cause| Error::unreadable(cause.to_string()).with_source(cause))
}
