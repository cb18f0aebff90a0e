//! Messages and what travels with them.

pub mod attribute;
mod catalog;
mod codec;
mod correlation_id;
mod envelope;
mod headers;
mod identity;
mod key;
mod kinds;
mod lane;
mod media_type;
mod metadata;
mod name;
mod partition;
mod reply;
mod request;
mod target;
mod trace_context;

pub use catalog::{Catalog, CatalogEntry, Direction};
pub use codec::{
    BODY_BYTES_MAX, CloudEventsBinary, CloudEventsJson, Codec, PAYLOAD_BYTES_MAX, Plain,
    WireMessage, holds_cloud_event,
};
pub(crate) use codec::{check_payload, without_mark};
pub use correlation_id::{CORRELATION_ID_BYTES_MAX, CorrelationId};
pub use envelope::Envelope;
pub use headers::{
    FOREIGN_HEADER_NAME_BYTES_MAX, FOREIGN_HEADER_VALUE_BYTES_MAX, FOREIGN_HEADERS_BYTES_MAX,
    FOREIGN_HEADERS_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, Headers,
};
pub use identity::MessageIdentity;
pub use key::{KEY_BYTES_MAX, Key, SLOTS, slot_of};
pub use kinds::{Command, Event, Message, Query, unknown_version};
pub use lane::Lane;
pub use media_type::{CONTENT_TYPE_JSON, is_cloud_event, is_json};
pub use metadata::{ATTRIBUTE_BYTES_MAX, Metadata};
pub use name::{ContextName, validate_message_name};
pub use partition::Partition;
pub use reply::REPLY_ERROR_BYTES_MAX;
pub use request::{ByCommand, ByQuery, IDEMPOTENCY_KEY_HEADER, Request, RequestKind};
pub use target::Target;
pub use trace_context::TraceContext;
