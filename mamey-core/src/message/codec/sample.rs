//! An envelope for the tests of this folder.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::id::{IdSource, UuidV7Source};
use crate::message::{
    CONTENT_TYPE_JSON, ContextName, Envelope, Headers, Metadata, Target, TraceContext,
};

/// An envelope with every field filled.
pub(crate) fn sample() -> Envelope {
    let ids = UuidV7Source::default();
    let mut headers = Headers::default();
    headers.insert("region", "eu").unwrap();
    let metadata = Metadata {
        id: ids.message_id(),
        name: "orders.order-placed".into(),
        version: 3,
        sender: "orders".into(),
        target: Target::Service(ContextName::new("payments").unwrap()),
        correlation_id: ids.message_id().into(),
        causation_id: Some(ids.message_id().into()),
        time: Timestamp::from_micros(1_790_000_000_123_456),
        key: Some("order-1".into()),
        tenant: Some("acme".into()),
        trace: Some(TraceContext::root(&ids)),
        content_type: CONTENT_TYPE_JSON.into(),
        must_route: false,
        headers,
    };
    Envelope { metadata, payload: Bytes::from_static(br#"{"order_id":"order-1"}"#) }
}
