//! What senders of CloudEvents write differently over AMQP: media types, names and types of headers.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldTable};
use mamey_core::message::{BODY_BYTES_MAX, Envelope};
use mamey_core::{ErrorKind, Result};

use super::{RabbitEncoding, Wire};

const EVENT: &str =
    r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"shop.sold","data":{"n": 1}}"#;
const PLAIN: &str = r#""sender":"till","type":"till.sold","payload":{"n":2}"#;

fn read(properties: &BasicProperties, body: &str) -> Result<Envelope> {
    let wire = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
    wire.read(properties, &Bytes::copy_from_slice(body.as_bytes()))
}

fn typed(media_type: &str) -> BasicProperties {
    BasicProperties::default().with_content_type(media_type.into())
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Binary mode, with the required attributes under names that `name` makes.
fn binary(name: fn(&str) -> String, more: Vec<(&str, AMQPValue)>) -> Result<Envelope> {
    let mut headers = FieldTable::default();
    for (attribute, value) in
        [("specversion", "1.0"), ("id", "A-1"), ("source", "/shop"), ("type", "shop.sold")]
    {
        headers.insert(name(attribute).into(), text(value));
    }
    for (header, value) in more {
        headers.insert(header.into(), value);
    }
    read(&typed("application/json").with_headers(headers), r#"{"n": 1}"#)
}

#[track_caller]
fn is_the_event(envelope: &Envelope) {
    let metadata = &envelope.metadata;
    assert_eq!(metadata.id_as_sent().to_string(), "A-1");
    assert_eq!((&*metadata.sender, &*metadata.name), ("/shop", "shop.sold"));
    assert_eq!(&envelope.payload[..], br#"{"n": 1}"#);
}

#[test]
fn an_event_is_recognized_by_any_spelling_of_its_media_type_and_by_its_attributes() {
    for media_type in [
        "application/cloudevents+json",
        "application/cloudevents+json; charset=utf-8",
        "Application/CloudEvents+JSON;charset=\"UTF-8\"",
        " application/cloudevents+json ; Charset = utf-8 ; a=b",
        "\tAPPLICATION/CLOUDEVENTS+JSON\t",
        "application/cloudevents",
        "application/json",
        "application/json; charset=utf-8",
        "application/octet-stream",
        "text/plain",
        "",
    ] {
        is_the_event(&read(&typed(media_type), EVENT).expect(media_type));
    }
    is_the_event(&read(&BasicProperties::default(), &format!("\u{feff}\r\n {EVENT}")).unwrap());
    let mut headers = FieldTable::default();
    headers.insert("Content-Type".into(), text("application/cloudevents+json"));
    is_the_event(&read(&BasicProperties::default().with_headers(headers), EVENT).unwrap());
}

#[test]
fn a_body_that_could_be_both_forms_is_the_event_it_declares_and_a_plain_message_stays_one() {
    let both = EVENT.replacen('{', r#"{"sender":"till","payload":{"n":2},"#, 1);
    let event = read(&typed("application/json"), &both).unwrap();
    is_the_event(&event);
    assert_eq!(event.metadata.headers.get("sender"), Some("till"));
    for plain in [
        format!("{{{PLAIN}}}"),
        format!("{{{PLAIN},\"specversion\":\"1.0\"}}"),
        format!("{{{PLAIN},\"id\":\"1\",\"source\":\"/shop\"}}"),
        format!("{{{}}}", PLAIN.replace("{\"n\":2}", EVENT)),
    ] {
        let message = read(&typed("application/json"), &plain).unwrap().metadata;
        assert_eq!((&*message.sender, &*message.name), ("till", "till.sold"), "{plain}");
    }
}

#[test]
fn a_batch_is_refused_by_name_however_it_is_spelled() {
    let batch = format!("[{EVENT},{EVENT}]");
    for media_type in [
        "application/cloudevents-batch+json",
        "Application/CloudEvents-Batch+JSON; charset=\"utf-8\"",
        "application/cloudevents-batch",
        "application/cloudevents-batch+protobuf",
        "application/cloudevents+json",
        "application/json",
        "",
    ] {
        let error = read(&typed(media_type), &batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = error.to_string();
        assert!(error.contains("batch") && error.contains("a message of its own"), "{error}");
    }
    let error = read(&typed("application/json"), "[]").unwrap_err().to_string();
    assert!(error.contains("not a plain message"), "{error}");
}

#[test]
fn an_event_under_another_media_type_is_refused_as_an_event() {
    for (body, words) in [
        (EVENT.replace("1.0", "0.3"), "`specversion` is `0.3`"),
        (EVENT.replace("\"A-1\"", "\"\""), "`id` is missing"),
        (EVENT.replace("\"specversion\":\"1.0\",", ""), "`specversion` is missing"),
        (EVENT.replace("\"source\":\"/shop\",", ""), "`source` is missing"),
        (EVENT.replace("}}", "}"), "not a CloudEvent in JSON: EOF"),
    ] {
        let error = read(&typed("application/json"), &body).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn names_of_headers_are_read_in_the_spellings_of_all_bindings() {
    let spellings: [fn(&str) -> String; 9] = [
        |name| format!("cloudEvents_{name}"),
        |name| format!("cloudEvents:{name}"),
        |name| format!("cloudevents_{name}"),
        |name| format!("CLOUDEVENTS:{}", name.to_uppercase()),
        |name| format!("cloudEvents-{name}"),
        |name| format!("ce-{name}"),
        |name| format!("CE-{}{}", name[..1].to_uppercase(), &name[1..]),
        |name| format!("ce_{name}"),
        |name| format!("Ce-{}", name.to_uppercase()),
    ];
    for spelling in spellings {
        let envelope = binary(spelling, Vec::new())
            .unwrap_or_else(|why| panic!("{why}: {:?}", spelling("id")));
        is_the_event(&envelope);
        assert_eq!(envelope.metadata.headers.dropped(), 0);
    }
    let more = vec![("CE-Region", text("eu")), ("cloudEvents_X_Odd", text("v"))];
    let headers = binary(|name| format!("ce-{name}"), more).unwrap().metadata.headers;
    assert_eq!((headers.get("region"), headers.get("X_Odd")), (Some("eu"), Some("v")));
}

#[test]
fn one_attribute_in_two_headers_is_read_if_it_is_clear() {
    let ours: fn(&str) -> String = |name| format!("cloudEvents_{name}");
    is_the_event(&binary(ours, vec![("ce-id", text("A-1"))]).unwrap());
    let error = binary(ours, vec![("ce-id", text("A-2"))]).unwrap_err().to_string();
    assert!(error.contains("`id` is in two headers"), "{error}");
    let more = vec![("ce-region", text("eu")), ("cloudEvents_region", text("us"))];
    assert_eq!(binary(ours, more).unwrap().metadata.headers.dropped(), 1);
    let mut headers = FieldTable::default();
    for name in ["ce-id", "ce-source", "ce-type"] {
        headers.insert(name.into(), text("x"));
    }
    let error = read(&typed("application/json").with_headers(headers), "{}").unwrap_err();
    assert!(error.to_string().contains("`specversion` is missing"), "{error}");
}

#[test]
fn headers_that_are_no_text_are_read_by_their_value() {
    let decimal = AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 105 });
    let ours: fn(&str) -> String = |name| format!("cloudEvents_{name}");
    for (value, read) in [
        (AMQPValue::LongInt(-7), "-7"),
        (AMQPValue::ShortShortUInt(7), "7"),
        (AMQPValue::LongLongInt(i64::MAX), "9223372036854775807"),
        (AMQPValue::Boolean(true), "true"),
        (AMQPValue::Double(1.5), "1.5"),
        (AMQPValue::Timestamp(1_700_000_000), "2023-11-14T22:13:20.000000Z"),
        (AMQPValue::ByteArray(ByteArray::from("ä".as_bytes())), "ä"),
        (AMQPValue::ShortString("s".into()), "s"),
        (decimal, "1.05"),
    ] {
        let envelope = binary(ours, vec![("cloudEvents_ext", value.clone())]).unwrap();
        assert_eq!(envelope.metadata.headers.get("ext"), Some(read), "{value:?}");
        let id = binary(|name| format!("ce-{name}"), vec![("ce-id", value)]).unwrap();
        assert_eq!(id.metadata.id_as_sent().to_string(), read);
    }
    let small = AMQPValue::DecimalValue(DecimalValue { scale: 3, value: 5 });
    let envelope = binary(ours, vec![("cloudEvents_ext", small)]).unwrap();
    assert_eq!(envelope.metadata.headers.get("ext"), Some("0.005"));
    for time in [AMQPValue::LongUInt(1_000), AMQPValue::LongInt(1_000), AMQPValue::Timestamp(1)] {
        let envelope = binary(ours, vec![("cloudEvents_time", time)]).unwrap();
        assert_eq!(envelope.metadata.time.as_millis(), 1_000);
    }
}
