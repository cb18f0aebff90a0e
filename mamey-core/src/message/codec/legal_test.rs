//! What CloudEvents allows is read: versions, times, sources, forms of data and of text.

use proptest::prelude::*;
use serde_json::json;

use super::{CloudEventsBinary, CloudEventsJson, Codec, Plain, WireMessage};
use crate::message::{Envelope, FOREIGN_HEADER_VALUE_BYTES_MAX, Message};
use crate::{ErrorKind, Result};

const MINIMUM: &str = r#""specversion":"1.0","id":"A-1","source":"/shop","type":"shop.sold""#;

fn decode(body: impl Into<Vec<u8>>) -> Result<Envelope> {
    CloudEventsJson::default().decode(&WireMessage::new(body.into().into()))
}

fn with(more: &str) -> Envelope {
    decode(format!("{{{MINIMUM},{more}}}")).unwrap()
}

fn header<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
    envelope.metadata.headers.get(name)
}

/// What the codecs of events write of it, by name; each reads it as it was.
fn written(envelope: &Envelope, name: &str) -> Option<String> {
    let (json, binary) = (CloudEventsJson::default(), CloudEventsBinary::default());
    for codec in [&json as &dyn Codec, &binary] {
        assert_eq!(&codec.decode(&codec.encode(envelope).unwrap()).unwrap(), envelope);
    }
    let wire = binary.encode(envelope).unwrap();
    let structured: serde_json::Value =
        serde_json::from_slice(&json.encode(envelope).unwrap().body).unwrap();
    let text = wire.properties.get(name).cloned();
    assert_eq!(structured.get(name).map(|it| it.as_str().unwrap().to_owned()), text);
    text
}

fn of_version(version: &str) -> Result<Envelope> {
    decode(format!(r#"{{"specversion":{version},"id":"1","source":"s","type":"t"}}"#))
}

#[test]
fn every_version_1_is_read_and_any_other_is_refused_by_name() {
    for (version, kept) in [
        (r#""1.0""#, None),
        ("1.0", None),
        (r#""1""#, Some("1")),
        (r#""1.0.2""#, Some("1.0.2")),
        (r#""1.1""#, Some("1.1")),
    ] {
        let envelope = of_version(version).unwrap();
        assert_eq!(header(&envelope, "foreignspecversion"), kept, "{version}");
        assert_eq!(written(&envelope, "specversion").unwrap(), "1.0");
    }
    for version in [r#""0.3""#, r#""0.2""#, r#""2.0""#, r#""10""#, r#""1.""#, r#""1.x""#, "true"] {
        let error = of_version(version).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let (error, version) = (error.to_string(), version.trim_matches('"'));
        let rule = format!("`specversion` is `{version}`, but only CloudEvents 1.x is read");
        assert!(error.contains(&rule), "{error}");
    }
}

#[test]
fn every_time_is_read_and_what_a_microsecond_loses_is_written_again() {
    for (time, read) in [
        ("2026-03-04T05:06:07Z", "2026-03-04T05:06:07.000000Z"),
        ("2026-03-04t05:06:07.5z", "2026-03-04T05:06:07.500000Z"),
        ("2026-03-04T05:06:07.123456000-23:59", "2026-03-05T05:05:07.123456Z"),
    ] {
        let envelope = with(&format!(r#""time":"{time}""#));
        assert_eq!(envelope.metadata.time.to_string(), read);
        assert_eq!(written(&envelope, "time").unwrap(), read);
        assert_eq!(header(&envelope, "foreigntime"), None, "{time}");
    }
    for (time, read) in [
        ("2026-03-04T05:06:07.123456789Z", "2026-03-04T05:06:07.123456Z"),
        ("2026-03-04T05:06:07.0000000000000000001+00:00", "2026-03-04T05:06:07.000000Z"),
        ("2016-12-31t23:59:60z", "2016-12-31T23:59:59.999999Z"),
    ] {
        let envelope = with(&format!(r#""time":"{time}""#));
        assert_eq!(envelope.metadata.time.to_string(), read);
        assert_eq!(written(&envelope, "time").unwrap(), time);
        assert_eq!(header(&envelope, "foreigntime"), Some(time));
    }
    let claimed = with(r#""time":"2026-03-04T05:06:07Z","foreigntime":"2026-03-04T05:06:07.000Z""#);
    assert_eq!(written(&claimed, "time").unwrap(), "2026-03-04T05:06:07.000000Z");
    assert_eq!(header(&claimed, "foreigntime"), Some("2026-03-04T05:06:07.000Z"));
}

#[test]
fn a_source_is_any_text_and_a_long_one_is_written_as_it_came() {
    let long = format!("https://shop.example/{}", "a/".repeat(2000));
    for source in ["/", "#a", "urn:uuid:1", "mailto:a@b", "?q=ä b", "\u{1}\u{feff}🍋", &long] {
        let body = json!({"specversion": "1.0", "id": "1", "source": source, "type": "t"});
        let (one, two) =
            (decode(body.to_string()).unwrap(), decode(body.to_string()).unwrap().metadata);
        assert_eq!(one.metadata.id, two.id);
        assert_eq!(one.metadata.id_as_sent().to_string(), "1");
        assert!(one.metadata.check().is_ok());
        assert_eq!(written(&one, "source").unwrap(), source);
        let mut other = json!({"specversion": "1.0", "id": "1", "type": "t"});
        other["source"] = format!("{source}x").into();
        assert_ne!(decode(other.to_string()).unwrap().metadata.id, one.metadata.id);
        let plain = json!({"sender": source, "type": "t", "payload": 1}).to_string();
        let plain = Plain::default().decode(&WireMessage::new(plain.into())).unwrap();
        let wire = Plain::default().encode(&plain).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        assert_eq!((&body["sender"], wire.properties.get("foreignsource")), (&json!(source), None));
        assert_eq!(Plain::default().decode(&wire).unwrap(), plain);
    }
    let body = |source: &str| {
        format!(r#"{{"specversion":"1.0","id":"1","source":"{source}","type":"t"}}"#)
    };
    assert!(decode(body("")).unwrap_err().to_string().contains("`source` is missing"));
    let error = decode(body(&"s".repeat(FOREIGN_HEADER_VALUE_BYTES_MAX + 1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn an_id_is_any_text_and_is_written_as_it_came() {
    for id in ["\0", "\u{1}\u{7f}", " ", "🍋\u{2028}", "a\r\nb", "{}", &"i".repeat(5 * 1024)] {
        let body = json!({
            "specversion": "1.0", "id": id, "source": "s", "type": "t", "correlationid": "",
            "causationid": "", "traceparent": "", "tracestate": "a=1", "subject": "", "time": "",
        });
        let envelope = decode(body.to_string()).unwrap();
        let metadata = &envelope.metadata;
        assert_eq!((metadata.correlation_id.clone(), &metadata.trace), (metadata.id.into(), &None));
        assert_eq!(metadata.causation_id, None);
        assert_eq!(header(&envelope, "foreigntracestate"), Some("a=1"));
        assert_eq!((header(&envelope, "subject"), metadata.headers.dropped()), (Some(""), 0));
        assert_eq!(written(&envelope, "id").unwrap(), id);
    }
}

#[test]
fn data_is_what_its_media_type_says() {
    for (attributes, payload) in [
        (r#""data":"a""#, &b"\"a\""[..]),
        (r#""datacontenttype":"Application/Vnd.Shop+JSON","data":"a""#, b"\"a\""),
        (r#""datacontenttype":"text/xml","data":"<a b=\"\u00e4\"/>""#, "<a b=\"ä\"/>".as_bytes()),
        (r#""data":"<a/>","datacontenttype":"text/xml; charset=utf-8""#, b"<a/>"),
        (r#""datacontenttype":"text/plain","data":"""#, b""),
        (r#""datacontenttype":"text/plain","data":null"#, b""),
        (r#""datacontenttype":"text/plain","data":{"a": 1}"#, br#"{"a": 1}"#),
        (r#""datacontenttype":"text/plain","data":1.50"#, b"1.50"),
        (r#""datacontenttype":"image/png","data_base64":"AP8=""#, &[0, 255]),
        (r#""datacontenttype":"application/json","data_base64":"eyAgfQ==""#, b"{  }"),
        (r#""data_base64":"""#, b""),
        (r#""data":null"#, b"null"),
        (r#""data":{"a":1,"a":2}"#, br#"{"a":1,"a":2}"#),
        (r#""subject":"none""#, b""),
    ] {
        let envelope = with(attributes);
        assert_eq!(&envelope.payload[..], payload, "{attributes}");
        written(&envelope, "type");
    }
    for (attributes, words) in [
        (r#""data_base64":"AP8""#, "`data_base64` is not Base64 (RFC 4648, with padding)"),
        (r#""data_base64":"_-8=""#, "`data_base64` is not Base64"),
        (r#""data_base64":{}"#, "`data_base64`"),
        (r#""datacontenttype":"text/plain","data":"\ud800""#, "`data` is a string that is not"),
    ] {
        let error = decode(format!("{{{MINIMUM},{attributes}}}")).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Sold {
    number: u32,
}

impl Message for Sold {
    const NAME: &'static str = "shop.sold";
}

#[test]
fn a_byte_order_mark_is_skipped_and_other_encodings_are_named() {
    let marked = format!("\u{feff} {{{MINIMUM}}}");
    assert_eq!(decode(marked).unwrap().metadata.name, "shop.sold");
    let plain = "\u{feff}{\"sender\":\"s\",\"type\":\"t\",\"payload\":1}";
    assert!(Plain::default().decode(&WireMessage::new(plain.into())).is_ok());
    assert_eq!(Sold::decode(1, "\u{feff}{\"number\":1}".as_bytes()).unwrap(), Sold { number: 1 });
    assert!(Sold::decode(1, "\u{feff}\u{feff}{\"number\":1}".as_bytes()).is_err());
    assert!(decode("\u{feff}[{}]").unwrap_err().to_string().contains("batch"));
    let utf16 = |mark: &[u16], order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.iter().copied().chain("{\"id\":1}".encode_utf16()).flat_map(order).collect()
    };
    for body in [
        utf16(&[0xfeff], u16::to_le_bytes),
        utf16(&[0xfeff], u16::to_be_bytes),
        utf16(&[], u16::to_le_bytes),
        utf16(&[], u16::to_be_bytes),
    ] {
        let error = decode(body.clone()).unwrap_err().to_string();
        assert!(error.contains("send it in UTF-8"), "{error}");
        let error = Plain::default().decode(&WireMessage::new(body.into())).unwrap_err();
        assert!(error.to_string().contains("send it in UTF-8"), "{error}");
    }
    let typed = |media: &'static str, body: &[u8]| {
        let wire = WireMessage::new(body.to_vec().into()).with_content_type(media.into());
        CloudEventsJson::default().decode(&wire)
    };
    let latin = [b"{\"id\":\"", &[0xe4][..], b"\"}"].concat();
    let error = typed("application/cloudevents+json; Charset=\"ISO-8859-1\"", &latin).unwrap_err();
    assert!(error.to_string().contains("charset is `ISO-8859-1`"), "{error}");
    let ascii = format!("{{{MINIMUM}}}");
    assert!(typed("application/cloudevents+json;charset=us-ascii", ascii.as_bytes()).is_ok());
}

#[test]
fn a_message_without_its_data_says_what_to_send() {
    for payload in [&b""[..], b" ", b"null", "\u{feff}".as_bytes()] {
        let error = Sold::decode(1, payload).unwrap_err().to_string();
        assert!(error.contains("it came without data: send the fields as `data`"), "{error}");
    }
    let error = Sold::decode(1, b"{}").unwrap_err().to_string();
    assert!(error.contains("missing field `number`") && !error.contains("without data"), "{error}");
}

/// Times as RFC 3339 has them, with any number of digits.
fn time() -> impl Strategy<Value = String> {
    let date = "(20[0-9]{2}|0[0-9]{3}|9[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
    let clock = "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]{1,20})?";
    let offset = "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    proptest::string::string_regex(&format!("{date}{clock}{offset}")).unwrap()
}

proptest! {
    #[test]
    fn any_time_is_used_and_survives(time in time()) {
        let envelope = with(&format!(r#""time":"{time}""#));
        let again = with(&format!(r#""time":"{}""#, written(&envelope, "time").unwrap()));
        prop_assert_eq!(&again, &envelope);
        let kept = header(&envelope, "foreigntime");
        prop_assert!(kept.is_none() || kept == Some(&time));
        prop_assert_eq!(again.metadata.time, envelope.metadata.time);
    }
}
