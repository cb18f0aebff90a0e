//! One message of each kind, with every attribute that we write.

use bytes::Bytes;
use mamey::message::{
    CloudEventsJson, Codec, ContextName, Envelope, Headers, IDEMPOTENCY_KEY_HEADER, Metadata,
    Target, TraceContext, WireMessage,
};
use mamey::{Error, MessageId, Timestamp};

/// An event of another system, with what we cannot use as it came.
const FOREIGN: &str = r#"{
    "specversion": "1.0", "id": "A-1", "source": "https://shop.example/till?no=7#a",
    "type": "orders.order-placed", "time": "2026-03-04t05:06:07.123456789+01:00", "subject": "tea",
    "dataschema": "https://schemas.example/1", "correlationid": "txn-abc-123", "causationid": "evt-9",
    "partitionkey": "LONG", "tenant": "acme", "target": "https://billing.example",
    "tracestate": "vendor=1", "express": true, "count": 7, "data": {"a": 1.50,  "a": null}
}"#;

/// All of them by name; they never change, because golden files hold them.
pub(crate) fn samples() -> Vec<(&'static str, Envelope)> {
    let request = request();
    let reply = |outcome| request.reply(&context("catalog"), id(9), time(), outcome);
    let sold_out = Error::rejected("catalog.sold-out", "no tea is left");
    let away = Error::unavailable("refused").with_context("loading items/tea");
    vec![
        ("event", event("{\"order_id\":\"order-7\",\"total\":1.50}")),
        ("event-minimal", Envelope::new(minimal(), "{}".into())),
        ("event-of-a-unit", Envelope::new(minimal(), "null".into())),
        ("event-without-data", Envelope::new(minimal(), Bytes::new())),
        ("event-of-bytes", bytes()),
        ("event-in-unicode", unicode()),
        ("event-from-elsewhere", foreign()),
        ("command", command()),
        ("reply", reply(Ok("{\"cents\":420}".into()))),
        ("reply-rejected", reply(Err(sold_out))),
        ("reply-failed", reply(Err(away))),
        ("request", request),
    ]
}

fn id(number: u128) -> MessageId {
    format!("0190f5d6-0000-7000-8000-{number:012}").parse().unwrap()
}

fn time() -> Timestamp {
    Timestamp::parse_rfc3339("2026-03-04T05:06:07.123456Z").unwrap()
}

fn context(name: &str) -> ContextName {
    ContextName::new(name).unwrap()
}

fn trace() -> TraceContext {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    TraceContext::parse(parent, Some("vendor=1,other=2")).unwrap()
}

fn minimal() -> Metadata {
    Metadata::new(id(1), "orders.order-placed", "orders").with_time(time())
}

/// Everything that an event of our own may carry.
fn full() -> Metadata {
    let mut headers = Headers::default();
    headers.insert("region", "eu").unwrap();
    headers.insert("empty", "").unwrap();
    minimal()
        .with_version(3)
        .with_correlation_id(id(2))
        .with_causation_id(id(3))
        .with_key(Some("order-7".into()))
        .with_tenant(Some("acme".into()))
        .with_trace(trace())
        .with_headers(headers)
}

fn event(payload: &'static str) -> Envelope {
    Envelope::new(full(), payload.into())
}

fn bytes() -> Envelope {
    let metadata = full().with_content_type("application/octet-stream");
    Envelope::new(metadata, Bytes::from_static(&[0, 255, 1]))
}

fn unicode() -> Envelope {
    let mut headers = Headers::default();
    headers.insert("city", "Kraków \u{10ffff}").unwrap();
    let metadata = minimal()
        .with_key(Some("ключ 🍋 \"\\".into()))
        .with_tenant(Some("租户".into()))
        .with_headers(headers);
    Envelope::new(metadata, "{\"é\":\"🍋\u{2028}\\u0000\\ud83c\\udf4b\"}".into())
}

fn command() -> Envelope {
    let mut metadata = full();
    metadata.name = "billing.take-payment".into();
    let metadata = metadata.with_target(Target::Service(context("billing")));
    Envelope::new(metadata, "{\"order_id\":\"order-7\"}".into())
}

fn request() -> Envelope {
    let mut headers = Headers::default();
    headers.insert(IDEMPOTENCY_KEY_HEADER, "order-7").unwrap();
    let mut metadata = full();
    metadata.name = "catalog.get-price".into();
    let metadata = metadata.with_target(Target::Service(context("catalog"))).with_headers(headers);
    Envelope::new(metadata, "{\"sku\":\"tea\"}".into())
}

fn foreign() -> Envelope {
    let body = FOREIGN.replace("LONG", &"k".repeat(300));
    CloudEventsJson::default().decode(&WireMessage::new(body.into())).unwrap()
}
