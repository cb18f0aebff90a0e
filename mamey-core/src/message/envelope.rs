//! The envelope: metadata and payload bytes.

use bytes::Bytes;

use super::Metadata;

/// A message in transit: [`Metadata`] and payload bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Everything but the payload.
    pub metadata: Metadata,
    /// The payload, of the metadata's content type.
    pub payload: Bytes,
}

impl Envelope {
    /// A message of these parts.
    #[must_use]
    pub const fn new(metadata: Metadata, payload: Bytes) -> Self {
        Self { metadata, payload }
    }
}

impl Envelope {
    /// The lane this message belongs to, if it has a key: order holds within a lane.
    #[must_use]
    pub fn lane(&self) -> Option<crate::message::Lane> {
        let key = self.metadata.key.as_ref()?;
        Some(crate::message::Lane::new(&self.metadata.sender, key))
    }
}
