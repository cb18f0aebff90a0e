//! Messages of other systems: what is legal is handled, what is odd is kept, and all of it is passed on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CloudEventsBinary, CloudEventsJson, Codec, Plain, WireMessage};
use crate::clock::{Clock, SystemClock};
use crate::id::MessageId;
use crate::message::{
    Envelope, FOREIGN_HEADER_VALUE_BYTES_MAX, FOREIGN_HEADERS_MAX, KEY_BYTES_MAX, Message, Target,
};
use crate::{ErrorKind, Result};

fn event(attributes: &[(&str, Value)]) -> String {
    let mut event = json!({
        "specversion": "1.0", "id": "A-1", "source": "/shop", "type": "shop.sold", "data": {"n": 1},
    });
    for (name, value) in attributes {
        event[name] = value.clone();
    }
    event.to_string()
}

fn decode(body: impl Into<String>) -> Result<Envelope> {
    CloudEventsJson::default().decode(&WireMessage::new(body.into().into()))
}

fn read(attributes: &[(&str, Value)]) -> Envelope {
    decode(event(attributes)).unwrap()
}

/// What is written of it as a CloudEvent in JSON.
fn written(envelope: &Envelope) -> Value {
    let wire = CloudEventsJson::default().encode(envelope).unwrap();
    serde_json::from_slice(&wire.body).unwrap()
}

fn header<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
    envelope.metadata.headers.get(name)
}

/// Every codec writes it, and reads it as it was.
fn survives(envelope: &Envelope) {
    let codecs: [&dyn Codec; 3] =
        [&CloudEventsJson::default(), &CloudEventsBinary::default(), &Plain::default()];
    for codec in codecs {
        let wire = codec.encode(envelope).unwrap();
        assert_eq!(&codec.decode(&wire).unwrap(), envelope);
    }
}

#[test]
fn ids_of_other_systems_are_carried_and_written_again() {
    for id in ["A-1", "0190F5D6-0000-7000-8000-00000000000A", "17", &"x".repeat(5000)] {
        let envelope = read(&[
            ("id", id.into()),
            ("correlationid", "txn-abc-123".into()),
            ("causationid", "evt-9".into()),
        ]);
        let metadata = &envelope.metadata;
        assert_eq!(metadata.correlation_id.to_string(), "txn-abc-123");
        assert_eq!(metadata.causation_id.as_ref().unwrap().to_string(), "evt-9");
        let again = written(&envelope);
        assert_eq!((&again["id"], again.get("foreignid")), (&json!(id), None));
        assert_eq!(
            (&again["correlationid"], &again["causationid"]),
            (&json!("txn-abc-123"), &json!("evt-9"))
        );
        survives(&envelope);
    }
    assert_eq!(read(&[]).metadata.id, MessageId::from_foreign("/shop", "A-1"));
    let own = "0190f5d6-0000-7000-8000-00000000000a";
    let claimed = read(&[("id", own.into()), ("foreignid", own.to_uppercase().into())]);
    assert_eq!((written(&claimed)["id"].as_str(), claimed.metadata.headers.len()), (Some(own), 0));
    assert_eq!(claimed.metadata.headers.dropped(), 1);
    assert_eq!(claimed.metadata.identity(), read(&[("id", own.into())]).metadata.identity());
    let own = read(&[("id", own.into()), ("foreignid", "B".into())]);
    assert_eq!((written(&own)["foreignid"].as_str(), own.metadata.headers.len()), (Some("B"), 1));
}

#[test]
fn what_is_too_long_gets_a_short_form_and_is_written_as_it_came() {
    let long = "k".repeat(300);
    for (name, length) in
        [("partitionkey", 256), ("tenant", 5000), ("correlationid", 1025), ("causationid", 5000)]
    {
        let text = "k".repeat(length);
        let (one, two) = (read(&[(name, json!(text))]), read(&[(name, json!(text))]));
        let metadata = &one.metadata;
        assert_eq!(metadata.correlation_id, two.metadata.correlation_id);
        assert_eq!((&metadata.key, &metadata.tenant), (&two.metadata.key, &two.metadata.tenant));
        assert_eq!(written(&one)[name], text);
        assert_eq!(written(&one).get(format!("foreign{name}")), None);
        survives(&one);
        let other = read(&[(name, json!(format!("{text}l")))]);
        assert_ne!(one.metadata, other.metadata);
    }
    let key = read(&[("partitionkey", json!(long))]).metadata.key.unwrap();
    assert!(key.as_str().starts_with("long-") && key.as_str().len() <= KEY_BYTES_MAX, "{key}");
    let media = format!("application/json; profile=\"{}\"", "x".repeat(3000));
    let media = read(&[("datacontenttype", json!(media))]);
    assert_eq!(media.metadata.content_type, "application/json");
    assert!(header(&media, "foreigncontenttype").unwrap().len() > 3000);
    survives(&media);
}

#[test]
fn what_cannot_be_read_is_kept_as_a_header() {
    for (name, value, kept) in [
        ("time", json!("noon"), "foreigntime"),
        ("time", json!("10000-01-01T00:00:00Z"), "foreigntime"),
        ("target", json!("https://billing.example"), "foreigntarget"),
        ("messageversion", json!("2.1"), "foreignversion"),
        ("messageversion", json!(-1), "foreignversion"),
        ("traceparent", json!("00-xyz"), "foreigntraceparent"),
        ("tracestate", json!("vendor=1"), "foreigntracestate"),
        ("partitionkey", json!({"a": 1}), "foreignpartitionkey"),
        ("subject", json!("cat.jpg"), "subject"),
        ("dataschema", json!("https://schemas/1"), "dataschema"),
        ("x_Odd-name.of-more-than-20-letters", json!("v"), "x_Odd-name.of-more-than-20-letters"),
        ("tags", json!(["a", "b"]), "tags"),
    ] {
        let envelope = read(&[(name, value.clone())]);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(header(&envelope, kept), Some(&*text), "{name}");
        assert_eq!(envelope.metadata.headers.dropped(), 0);
        assert_eq!((&envelope.metadata.target, envelope.metadata.version), (&Target::Any, 1));
        survives(&envelope);
    }
    let now = SystemClock.now();
    assert!(read(&[("time", "noon".into())]).metadata.time >= now, "the time of receipt");
    assert!(read(&[]).metadata.time >= now);
    let id = "0190f5d6-0000-7000-8000-000000000001";
    let time = read(&[("id", id.into()), ("time", "noon".into())]).metadata.time;
    assert_eq!(time.to_string(), "2024-07-27T20:16:01.024000Z", "the time in the id");
}

#[test]
fn many_and_large_extensions_are_kept_within_bounds_and_the_rest_is_counted() {
    let names: Vec<String> = (0..FOREIGN_HEADERS_MAX).map(|n| format!("ext_{n}")).collect();
    let all: Vec<(&str, Value)> = names.iter().map(|name| (&**name, json!("v"))).collect();
    let envelope = read(&all[..33]);
    assert_eq!((envelope.metadata.headers.len(), envelope.metadata.headers.dropped()), (34, 0));
    survives(&envelope);
    let envelope = read(&all);
    assert_eq!(envelope.metadata.headers.dropped(), 1, "`foreignid` is one of them");
    survives(&envelope);
    let large = read(&[("large", json!("x".repeat(5 * 1024)))]);
    assert_eq!(header(&large, "large").unwrap().len(), 5 * 1024);
    survives(&large);
    let larger = read(&[("large", json!("x".repeat(FOREIGN_HEADER_VALUE_BYTES_MAX + 1)))]);
    assert_eq!((header(&larger, "large"), larger.metadata.headers.dropped()), (None, 1));
    survives(&larger);
}

#[test]
fn values_may_be_numbers_booleans_null_and_twice_the_same() {
    let envelope = read(&[
        ("id", json!(17)),
        ("count", json!(7)),
        ("express", json!(true)),
        ("tenant", Value::Null),
    ]);
    assert_eq!(envelope.metadata.id_as_sent().to_string(), "17");
    assert_eq!(
        (header(&envelope, "count"), header(&envelope, "express")),
        (Some("7"), Some("true"))
    );
    assert_eq!(envelope.metadata.tenant, None);
    let minimal = r#""specversion":"1.0","id":"1","source":"s","type":"t""#;
    let exact =
        decode(format!(r#"{{{minimal},"ratio":1.50,"huge":1e999,"lone":"\ud800"}}"#)).unwrap();
    assert_eq!((header(&exact, "ratio"), header(&exact, "huge")), (Some("1.50"), Some("1e999")));
    assert_eq!(header(&exact, "lone"), Some("\"\\ud800\""));
    let twice =
        decode(format!(r#"{{{minimal},"id":"1","region":"eu","region":"us","data":1,"data":1}}"#));
    let twice = twice.unwrap();
    assert_eq!((header(&twice, "region"), twice.metadata.headers.dropped()), (Some("us"), 1));
    let null = decode(format!(r#"{{{minimal},"data":null,"data_base64":"MQ=="}}"#)).unwrap();
    assert_eq!(&null.payload[..], b"1");
    for wrong in [
        r#""id":"2""#,
        r#""type":"u""#,
        r#""source":[]"#,
        r#""specversion":"0.3""#,
        r#""data":1,"data":2"#,
    ] {
        let error = decode(format!("{{{minimal},{wrong}}}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong}");
    }
    let error = decode(event(&[("id", json!("x".repeat(FOREIGN_HEADER_VALUE_BYTES_MAX + 1)))]));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(decode(event(&[("id", json!(""))])).is_err());
}

#[test]
fn other_modes_and_formats_are_refused_by_name() {
    let typed = |media: &'static str, body: &'static str| {
        let wire = WireMessage::new(body.into()).with_content_type(media.into());
        CloudEventsJson::default().decode(&wire).unwrap_err().to_string()
    };
    for error in [
        typed("application/CloudEvents-Batch+JSON; charset=utf-8", "[]"),
        typed("application/cloudevents-batch+json", "{}"),
        typed("application/cloudevents+json", " [{}]"),
    ] {
        assert!(error.contains("batch") && error.contains("a message of its own"), "{error}");
    }
    let error = typed("application/cloudevents+avro", "Obj");
    assert!(error.contains("`application/cloudevents+avro`"), "{error}");
}

#[test]
fn a_plain_message_keeps_what_it_cannot_use() {
    let body =
        r#"{"sender":"shop","target":"MSG_SERVICE_BILLING","type":"shop.sold","payload":{}}"#;
    let properties: BTreeMap<Cow<'static, str>, String> =
        [("id", "A-1"), ("time", "noon"), ("X-Region", "eu"), ("correlationid", "txn")]
            .map(|(name, value)| (name.into(), value.to_owned()))
            .into();
    let wire = WireMessage::new(body.into()).with_properties(properties);
    let envelope = Plain::default().decode(&wire).unwrap();
    for (name, value) in [
        ("foreignid", "A-1"),
        ("foreigntime", "noon"),
        ("foreigntarget", "MSG_SERVICE_BILLING"),
        ("X-Region", "eu"),
    ] {
        assert_eq!(header(&envelope, name), Some(value));
    }
    assert_eq!(envelope.metadata.correlation_id.to_string(), "txn");
    let again = Plain::default().encode(&envelope).unwrap();
    assert_eq!(again.properties["id"], "A-1");
    survives(&envelope);
}

#[derive(serde::Deserialize)]
struct Pinged;

#[derive(serde::Deserialize)]
struct Empty {}

#[derive(serde::Deserialize, Default, PartialEq, Debug)]
#[serde(default)]
struct Defaults {
    number: u32,
}

#[derive(serde::Deserialize)]
struct Full {
    #[serde(rename = "number")]
    _number: u32,
}

impl Message for Pinged {
    const NAME: &'static str = "pinged";
}

impl Message for Empty {
    const NAME: &'static str = "empty";
}

impl Message for Defaults {
    const NAME: &'static str = "defaults";
}

impl Message for Full {
    const NAME: &'static str = "full";
}

#[test]
fn a_message_that_has_nothing_to_say_may_come_without_data() {
    for attributes in [r#""data":null"#, r#""subject":"none""#, r#""data_base64":"""#] {
        let body =
            format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{attributes}}}"#);
        let payload = decode(body).unwrap().payload;
        assert!(Pinged::decode(1, &payload).is_ok(), "{attributes}");
        assert!(Empty::decode(1, &payload).is_ok(), "{attributes}");
        assert_eq!(Defaults::decode(1, &payload).unwrap(), Defaults::default());
        assert!(Full::decode(1, &payload).is_err(), "{attributes}");
    }
    assert!(Pinged::decode(1, b" ").is_ok());
    assert!(Empty::decode(1, b"[1]").is_err());
}

/// Values that other systems send under any name.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "\\PC{0,40}|[A-Z]{1,8}-[0-9]{1,4}".prop_map(Value::from),
        (0_usize..6000).prop_map(|length| Value::from("v".repeat(length))),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!({"a": [1, null]})),
        Just(json!("2016-12-31t23:59:60.5-00:00")),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "time",
            "target",
            "messageversion",
            "correlationid",
            "causationid",
            "partitionkey",
            "tenant",
            "traceparent",
            "tracestate",
            "datacontenttype",
            "subject",
            "foreignid",
            "foreigntime",
            "foreignpartitionkey",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9_.-]{1,40}",
    ]
}

proptest! {
    #[test]
    fn no_optional_attribute_costs_the_message(
        extensions in btree_map(name(), value(), 0..40), id in "\\PC{1,60}", number: i64,
    ) {
        let mut attributes: Vec<(&str, Value)> =
            extensions.iter().map(|(name, value)| (&**name, value.clone())).collect();
        attributes.push(("id", id.clone().into()));
        attributes.push(("data", number.into()));
        for required in ["specversion", "source", "type", "data_base64"] {
            attributes.retain(|(name, _)| *name != required);
        }
        let envelope = read(&attributes);
        prop_assert_eq!(envelope.metadata.id_as_sent().to_string(), &*id);
        prop_assert_eq!(&*envelope.metadata.sender, "/shop");
        prop_assert_eq!(String::from_utf8_lossy(&envelope.payload), number.to_string());
        prop_assert_eq!(&written(&envelope)["id"], &id);
        // The plain form says nothing about the media type.
        let json = CloudEventsJson::default();
        let binary = CloudEventsBinary::default();
        prop_assert_eq!(&json.decode(&json.encode(&envelope).unwrap()).unwrap(), &envelope);
        prop_assert_eq!(&binary.decode(&binary.encode(&envelope).unwrap()).unwrap(), &envelope);
    }
}
