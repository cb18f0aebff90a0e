//! The law of every codec as properties: what was written is read back unchanged.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::{CloudEventsBinary, CloudEventsJson, Codec, Plain};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::{
    CONTENT_TYPE_JSON, ContextName, CorrelationId, Envelope, Headers, Key, Metadata, Target,
    TraceContext,
};

/// Text as people, machines and attackers write it, never empty.
const TEXT: &str = "[ -~]{1,40}|\\PC{1,20}|.{1,20}";

fn id() -> impl Strategy<Value = MessageId> {
    any::<u128>().prop_map(|bits| MessageId::from_uuid(Uuid::from_u128(bits)))
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Any),
        "[a-z][a-z0-9-]{0,47}".prop_map(|name| Target::Service(ContextName::new(&name).unwrap())),
    ]
}

fn trace() -> impl Strategy<Value = TraceContext> {
    (1_u128.., 1_u64.., any::<u8>(), option::of("[ -~]{0,60}")).prop_map(
        |(trace, span, flags, state)| {
            let parent = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            TraceContext::parse(&parent, state.as_deref()).unwrap()
        },
    )
}

/// Names of our own and of other systems; those that are attributes are left out, as `Headers` does.
fn headers() -> impl Strategy<Value = Headers> {
    btree_map("[a-z0-9]{1,20}|subject|\\PC{1,30}", ".{0,40}", 0..6).prop_map(|wanted| {
        let mut headers = Headers::default();
        for (name, value) in wanted {
            headers.keep(&name, value);
        }
        headers
    })
}

fn correlation_id() -> impl Strategy<Value = CorrelationId> {
    prop_oneof![
        id().prop_map(CorrelationId::from),
        TEXT.prop_map(|text| text.parse().unwrap()),
        any::<u128>().prop_map(|it| Uuid::from_u128(it).simple().to_string().parse().unwrap()),
    ]
}

/// JSON as a handler's message is written, and with the white space of another writer.
fn json() -> impl Strategy<Value = Bytes> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1.0e300_f64..1.0e300).prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            btree_map(".{0,6}", inner, 0..4).prop_map(|it| it.into_iter().collect()),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, spaced)| {
        let bytes =
            if spaced { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        bytes.unwrap().into()
    })
}

fn binary() -> impl Strategy<Value = (String, Bytes)> {
    let media = "application/octet-stream|text/[a-z]{1,8}; charset=utf-8|image/png";
    (media, vec(any::<u8>(), 0..64).prop_map(Bytes::from))
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let about = (TEXT, any::<u32>(), TEXT, target(), any::<i64>());
    let ids = (id(), correlation_id(), option::of(correlation_id()));
    let rest = (option::of("\\PC{0,40}"), option::of(TEXT), option::of(trace()), headers());
    (about, ids, rest).prop_map(|(about, ids, rest)| {
        let (name, version, sender, target, time) = about;
        let (id, correlation_id, causation_id) = ids;
        let (key, tenant, trace, headers) = rest;
        let time = Timestamp::from_micros(time);
        let (key, tenant) = (key.map(Key::from), tenant.map(Into::into));
        Metadata {
            version,
            target,
            correlation_id,
            causation_id,
            time,
            key,
            tenant,
            trace,
            headers,
            ..Metadata::new(id, name, &sender)
        }
    })
}

fn json_envelope() -> impl Strategy<Value = Envelope> {
    (metadata(), json()).prop_map(|(metadata, payload)| Envelope { metadata, payload })
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let typed = |(metadata, (media, payload)): (Metadata, (String, Bytes))| {
        let metadata = Metadata { content_type: media.into(), ..metadata };
        Envelope { metadata, payload }
    };
    let empty = |metadata| Envelope { metadata, payload: Bytes::new() };
    prop_oneof![
        4 => json_envelope(),
        2 => (metadata(), binary()).prop_map(typed),
        1 => metadata().prop_map(empty),
    ]
}

proptest! {
    #[test]
    fn an_envelope_survives_a_cloud_event(envelope in any_envelope()) {
        let codec = CloudEventsJson::default();
        let wire = codec.encode(&envelope).unwrap();
        prop_assert_eq!(codec.decode(&wire).unwrap(), envelope);
    }

    #[test]
    fn an_envelope_survives_binary_mode(envelope in any_envelope()) {
        let codec = CloudEventsBinary::default();
        let wire = codec.encode(&envelope).unwrap();
        prop_assert_eq!(codec.decode(&wire).unwrap(), envelope);
    }

    #[test]
    fn an_envelope_survives_the_plain_form(envelope in json_envelope()) {
        let codec = Plain::default();
        let wire = codec.encode(&envelope).unwrap();
        prop_assert_eq!(codec.decode(&wire).unwrap(), envelope);
    }

    #[test]
    fn metadata_survives_its_row(metadata in metadata(), must_route: bool) {
        let metadata = Metadata { must_route, ..metadata };
        let json = serde_json::to_vec(&metadata).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Metadata>(&json).unwrap(), metadata);
    }

    #[test]
    fn a_payload_of_json_stands_in_data_as_json(envelope in json_envelope()) {
        let wire = CloudEventsJson::default().encode(&envelope).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        prop_assert_eq!(&body["datacontenttype"], CONTENT_TYPE_JSON);
        let payload: serde_json::Value = serde_json::from_slice(&envelope.payload).unwrap();
        prop_assert_eq!(&body["data"], &payload);
    }
}
