//! Bytes from the wire, in both forms: refused with the attribute named, and never a panic.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mamey::message::{
    BODY_BYTES_MAX, CloudEventsJson, Codec, Envelope, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, Headers,
    Metadata, PAYLOAD_BYTES_MAX, Plain, WireMessage,
};
use mamey::{ErrorKind, MessageId, Result, Retry};

use crate::panics;
use crate::words::{assert_fails, assert_holds};

const EVENT: &str = r#""specversion":"1.0","id":"1","source":"elsewhere","type":"elsewhere.sold""#;

fn cloud_event(body: impl Into<Vec<u8>>) -> Result<Envelope> {
    let wire = WireMessage::new(body.into().into());
    CloudEventsJson::default().decode(&wire)
}

fn plain(body: impl Into<Vec<u8>>) -> Result<Envelope> {
    plain_with(body, &[])
}

fn plain_with(body: impl Into<Vec<u8>>, properties: &[(&str, &str)]) -> Result<Envelope> {
    let owned =
        |(name, value): &(&str, &str)| (Cow::Owned((*name).to_owned()), (*value).to_owned());
    let properties: BTreeMap<Cow<'static, str>, String> = properties.iter().map(owned).collect();
    let wire = WireMessage::new(body.into().into()).with_properties(properties);
    Plain::default().decode(&wire)
}

#[track_caller]
fn refused(decoded: Result<Envelope>, words: &[&str]) {
    assert_fails(decoded, ErrorKind::Invalid, words);
}

/// An array may hold events that are each fine, so it is not called invalid.
#[track_caller]
fn batch_refused(decoded: Result<Envelope>) {
    let words = ["not a CloudEvent in JSON but a batch", "send each event as a message"];
    assert_fails(decoded, ErrorKind::Unsupported, &words);
}

fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn what_is_no_json_is_refused_in_both_forms() {
    panics::watch();
    let bodies: [&[u8]; 6] = [b"", b"\0", b"<a/>", b"{", b"{\"id\":", &[0xff, 0xfe, 0x00]];
    for body in bodies {
        refused(cloud_event(body), &["not a CloudEvent in JSON"]);
        refused(plain(body), &["not a plain message {sender, target, type, payload}"]);
    }
    batch_refused(cloud_event("[]"));
    refused(plain("[]"), &["not a plain message {sender, target, type, payload}"]);
    panics::assert_none();
}

#[test]
fn each_missing_attribute_of_a_cloud_event_is_named() {
    for missing in ["specversion", "id", "source", "type"] {
        let others: Vec<_> = EVENT.split(',').filter(|it| !it.contains(missing)).collect();
        let body = format!("{{{}}}", others.join(","));
        refused(cloud_event(body), &[&format!("attribute `{missing}` is missing")]);
        let emptied = format!(r#"{{{},"{missing}":""}}"#, others.join(","));
        refused(cloud_event(emptied), &[&format!("`{missing}`"), "not empty"]);
    }
}

#[test]
fn each_missing_field_of_the_plain_form_is_named() {
    let fields = [r#""sender":"elsewhere""#, r#""type":"elsewhere.sold""#, r#""payload":1"#];
    for (missing, name) in fields.iter().zip(["sender", "type", "payload"]) {
        let others: Vec<_> = fields.iter().filter(|field| *field != missing).copied().collect();
        let body = format!("{{{}}}", others.join(","));
        refused(plain(body), &[&format!("missing field `{name}`")]);
    }
    refused(plain(r#"{"sender":"","type":"t","payload":1}"#), &["`sender`", "is empty"]);
    refused(plain(r#"{"sender":"s","type":"","payload":1}"#), &["`type`", "is empty"]);
}

#[test]
fn attributes_that_occur_twice_are_refused_where_it_is_unclear_which_message_is_meant() {
    for twice in [r#""id":"2""#, r#""\u0069d":"2""#, r#""type":"other""#, r#""source":"s""#] {
        let body = format!("{{{EVENT},{twice}}}");
        refused(cloud_event(body), &["occurs twice", "send it once"]);
    }
    assert!(cloud_event(format!(r#"{{{EVENT},"id":"1"}}"#)).is_ok(), "the same twice");
    let extension = cloud_event(format!(r#"{{{EVENT},"region":"eu","region":"us"}}"#)).unwrap();
    let headers = &extension.metadata.headers;
    assert_eq!((headers.get("region"), headers.dropped()), (Some("us"), 1));
    let data = format!(r#"{{{EVENT},"data":1,"data":2}}"#);
    refused(cloud_event(data), &["`data`", "twice"]);
    let both = format!(r#"{{{EVENT},"data":1,"data_base64":"MQ=="}}"#);
    refused(cloud_event(both), &["`data` and `data_base64`", "send one"]);
    for twice in ["sender", "target", "type", "payload"] {
        let body =
            format!(r#"{{"sender":"s","target":"t","type":"t","payload":1,"{twice}":"again"}}"#);
        refused(plain(body), &[&format!("duplicate field `{twice}`")]);
    }
}

#[test]
fn essential_attributes_of_a_wrong_type_or_form_are_named() {
    for (attribute, value) in
        [("id", "{}"), ("id", "[1]"), ("source", "{}"), ("type", "[]"), ("data_base64", "\"?\"")]
    {
        let others: Vec<_> =
            EVENT.split(',').filter(|it| !it.contains(&format!("\"{attribute}\""))).collect();
        let body = format!(r#"{{{},"{attribute}":{value}}}"#, others.join(","));
        refused(cloud_event(body), &[attribute]);
    }
}

#[test]
fn other_attributes_of_a_wrong_type_or_form_are_kept_as_headers() {
    for (attribute, value, kept) in [
        ("messageversion", "-1", "foreignversion"),
        ("messageversion", "\"two\"", "foreignversion"),
        ("messageversion", "4294967296", "foreignversion"),
        ("time", "\"noon\"", "foreigntime"),
        ("time", "\"99999-01-01T00:00:00Z\"", "foreigntime"),
        ("target", "\"No Body\"", "foreigntarget"),
        ("partitionkey", "{}", "foreignpartitionkey"),
    ] {
        let event = cloud_event(format!(r#"{{{EVENT},"{attribute}":{value}}}"#)).unwrap();
        assert_eq!(event.metadata.headers.get(kept), Some(value.trim_matches('"')), "{attribute}");
        assert_eq!((event.metadata.version, event.metadata.key), (1, None));
    }
    let body = r#"{"sender":"s","target":"No Body","type":"t","payload":1}"#;
    let target = plain(body).unwrap().metadata;
    assert_eq!(target.headers.get("foreigntarget"), Some("No Body"));
    let body = r#"{"sender":"s","type":"t","payload":1}"#;
    for (name, kept) in [("messageversion", "foreignversion"), ("time", "foreigntime")] {
        let message = plain_with(body, &[(name, "no such")]).unwrap();
        assert_eq!(message.metadata.headers.get(kept), Some("no such"));
    }
    for codec in [
        cloud_event(format!(r#"{{{EVENT},"correlationid":"x y"}}"#)),
        plain_with(body, &[("correlationid", "x y")]),
    ] {
        assert_eq!(codec.unwrap().metadata.correlation_id.to_string(), "x y");
    }
}

#[test]
fn a_hundred_thousand_brackets_are_carried_in_data_and_dropped_in_an_attribute() {
    panics::watch();
    let nested = deep(100_000);
    let event = cloud_event(format!(r#"{{{EVENT},"data":{nested}}}"#)).unwrap();
    assert_eq!(event.payload, nested.as_bytes());
    let message = plain(format!(r#"{{"sender":"s","type":"t","payload":{nested}}}"#)).unwrap();
    assert_eq!(message.payload, nested.as_bytes());
    // Read into a type, the depth is refused; the receiver keeps it as a dead letter.
    assert!(serde_json::from_slice::<serde_json::Value>(&event.payload).is_err());
    let region = cloud_event(format!(r#"{{{EVENT},"region":{nested}}}"#)).unwrap();
    assert_eq!(region.metadata.headers.dropped(), 1);
    batch_refused(cloud_event(nested.clone()));
    refused(plain(format!(r#"{{"sender":{nested}}}"#)), &["not a plain message"]);
    refused(cloud_event(format!(r#"{{{EVENT},"data":{}"#, &nested[..150_000])), &["EOF"]);
    panics::assert_none();
}

#[test]
fn text_that_is_not_utf8_is_refused_and_nul_is_text() {
    let mut body = format!(r#"{{{EVENT},"data":""#).into_bytes();
    body.extend(b"\xff\"}");
    refused(cloud_event(body), &["not a CloudEvent", "unicode"]);
    let mut body = br#"{"sender":"s","type":"t","payload":""#.to_vec();
    body.extend(b"\xff\"}");
    refused(plain(body), &["not a plain message", "unicode"]);
    let lone = format!(r#"{{{EVENT},"region":"\ud800"}}"#);
    let lone = cloud_event(lone).unwrap();
    assert_eq!(lone.metadata.headers.get("region"), Some("\"\\ud800\""), "as it was written");
    let nul = cloud_event(format!(r#"{{{EVENT},"region":"a\u0000b"}}"#)).unwrap();
    assert_eq!(nul.metadata.headers.get("region"), Some("a\0b"));
}

#[test]
fn what_is_too_long_and_essential_is_refused_by_name_and_not_repeated() {
    let (long, longer) = ("x".repeat(10_000), "x".repeat(20_000));
    for (decoded, what, bytes) in [
        (cloud_event(EVENT_WITH_LONG_ID.replace("LONG", &longer)), "id", "20000 bytes"),
        (
            cloud_event(format!("{{{}}}", EVENT.replace("elsewhere.sold", &long))),
            "name",
            "10000 bytes",
        ),
        (
            cloud_event(format!(
                "{{{}}}",
                EVENT.replace("\"elsewhere\"", &format!("\"{longer}\""))
            )),
            "sender",
            "20000 bytes",
        ),
    ] {
        let error = decoded.expect_err(what);
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::LimitExceeded, Retry::Never),
            "{error}"
        );
        assert_holds(&error.to_string(), &[what, bytes, "the limit is"]);
        assert!(error.to_string().len() < 400, "{error}");
    }
}

#[test]
fn what_is_too_long_and_not_essential_is_shortened_or_dropped_with_a_count() {
    let (long, longest) = ("k".repeat(10_000), "x".repeat(20_000));
    let body = r#"{"sender":"s","type":"t","payload":1}"#;
    for decoded in [
        cloud_event(format!(r#"{{{EVENT},"partitionkey":"{long}","tenant":"{long}"}}"#)),
        plain_with(body, &[("partitionkey", &long), ("tenant", &long)]),
    ] {
        let metadata = decoded.unwrap().metadata;
        assert!(metadata.check().is_ok());
        assert!(metadata.key.unwrap().as_str().starts_with("long-"));
        assert!(metadata.tenant.unwrap().starts_with("long-"));
        assert_eq!(metadata.headers.get("foreignpartitionkey"), Some(&*long));
    }
    let source =
        cloud_event(format!("{{{}}}", EVENT.replace("\"elsewhere\"", &format!("\"{long}\""))));
    let source = source.unwrap().metadata;
    assert!(source.check().is_ok() && source.sender.starts_with("long-"), "{source:?}");
    assert_eq!(source.headers.get("foreignsource"), Some(&*long));
    let typed = cloud_event(format!(r#"{{{EVENT},"datacontenttype":"{long}"}}"#)).unwrap();
    assert_eq!(typed.metadata.content_type, "application/octet-stream");
    let region = cloud_event(format!(r#"{{{EVENT},"region":"{longest}"}}"#)).unwrap();
    assert_eq!(region.metadata.headers.dropped(), 1);
    let many: String = (0..=HEADERS_MAX).map(|n| format!(r#","h{n}":"v""#)).collect();
    let many = cloud_event(format!("{{{EVENT}{many}}}")).unwrap().metadata.headers;
    assert_eq!((many.len(), many.dropped()), (HEADERS_MAX + 2, 0), "with `foreignid`");
}

const EVENT_WITH_LONG_ID: &str =
    r#"{"specversion":"1.0","id":"LONG","source":"elsewhere","type":"elsewhere.sold"}"#;

#[test]
fn a_body_over_the_limit_is_refused_in_both_directions() {
    let body = vec![b' '; BODY_BYTES_MAX + 1];
    let words = ["16777217 bytes", "16777216", "raise the codec's `body_bytes_max`"];
    assert_fails(cloud_event(body.clone()), ErrorKind::LimitExceeded, &words);
    assert_fails(plain(body), ErrorKind::LimitExceeded, &words);
    let large = largest(BODY_BYTES_MAX);
    let words = ["the limit is 16777216", "send a reference to the data"];
    for codec in codecs() {
        assert_fails(codec.encode(&large), ErrorKind::LimitExceeded, &words);
    }
}

/// Otherwise an outbox could take what no wire carries, and its lane would wait forever.
#[test]
fn the_largest_message_that_can_be_published_fits_on_the_wire() {
    let largest = largest(PAYLOAD_BYTES_MAX);
    assert!(largest.metadata.check().is_ok());
    for codec in codecs() {
        let wire = codec.encode(&largest).unwrap();
        assert_eq!(codec.decode(&wire).unwrap(), largest);
    }
}

fn codecs() -> [Box<dyn Codec>; 2] {
    [Box::new(CloudEventsJson::default()), Box::new(Plain::default())]
}

/// A message with all the headers it may carry, of the characters that JSON writes longest.
fn largest(payload_bytes: usize) -> Envelope {
    let mut headers = Headers::default();
    for number in 0..HEADERS_MAX {
        let value = "\u{1}".repeat(HEADER_VALUE_BYTES_MAX);
        headers.insert(&format!("h{number}"), value).unwrap();
    }
    let id = MessageId::from_foreign("elsewhere", "1");
    let metadata = Metadata::new(id, "elsewhere.sold", "elsewhere")
        .with_causation_id(id)
        .with_key(Some("\u{1}".repeat(255).into()))
        .with_tenant(Some("\u{1}".repeat(2048).into()))
        .with_headers(headers);
    let payload = format!("\"{}\"", "x".repeat(payload_bytes - 2)).into();
    Envelope::new(metadata, payload)
}
