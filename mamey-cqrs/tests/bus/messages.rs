//! Messages of a consumer are looked up by name, decoded, upcast, and committed with their receipt.

use std::sync::{Arc, Mutex};

use mamey_core::inbound::{Custody, Inbound, Incoming};
use mamey_core::message::{CloudEventsJson, Codec, Envelope, Metadata, WireMessage};
use mamey_core::store::{CommitOutcome, Origin};
use mamey_core::{Context, Error, ErrorKind, Event, Message, Result, RetryPolicy};
use mamey_cqrs::{BoundedContext, ContextRuntime, MessageHandler};
use serde::{Deserialize, Serialize};

use crate::no_store::{envelope, open};

#[derive(Deserialize)]
struct PaidV1 {
    cents: i64,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Paid {
    cents: i64,
    currency: String,
}

impl Message for Paid {
    const NAME: &'static str = "payments.paid";
    const VERSION: u32 = 2;

    fn upcast(version: u32, payload: &[u8]) -> Result<Self> {
        if version != 1 {
            return Err(Error::unsupported(format!("version {version} is unknown")));
        }
        let old: PaidV1 = serde_json::from_slice(payload).map_err(Error::other)?;
        Ok(Self { cents: old.cents, currency: "EUR".to_owned() })
    }
}

/// Records what it receives.
struct Noting(Arc<Mutex<Vec<Paid>>>);

impl MessageHandler<Paid> for Noting {
    async fn handle(&self, message: Paid, cx: &Context) -> Result<()> {
        assert_ne!(cx.message_id(), cx.correlation_id(), "the id alone is not unique");
        self.0.lock().unwrap().push(message);
        Ok(())
    }
}

type Notes = Arc<Mutex<Vec<Paid>>>;

fn ledger() -> (Arc<ContextRuntime>, Notes) {
    let notes = Notes::default();
    (open(BoundedContext::new("ledger").on(Noting(Arc::clone(&notes)))), notes)
}

async fn handle(
    runtime: &ContextRuntime,
    name: &'static str,
    version: u32,
    payload: &'static str,
) -> Result<CommitOutcome> {
    let envelope = envelope(name, version, payload);
    let custody = Custody::new(Origin::Delivery);
    runtime.handle(Incoming::new(&envelope, &custody, 1)).await
}

#[tokio::test]
async fn a_message_is_decoded_or_upcast_and_its_receipt_must_commit() {
    let (runtime, notes) = ledger();
    assert_eq!(runtime.handles(), ["payments.paid"]);
    for (version, payload) in [(2, r#"{"cents":5,"currency":"CHF"}"#), (1, r#"{"cents":5}"#)] {
        // Without a store nothing is handled, even though the handler succeeds.
        let error = handle(&runtime, "payments.paid", version, payload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    let paid = |currency: &str| Paid { cents: 5, currency: currency.to_owned() };
    assert_eq!(*notes.lock().unwrap(), [paid("CHF"), paid("EUR")]);
}

#[tokio::test]
async fn what_cannot_be_decoded_never_reaches_the_handler() {
    let (runtime, notes) = ledger();
    let kind = async |name, version, payload| {
        handle(&runtime, name, version, payload).await.unwrap_err().kind()
    };
    for (name, version, payload) in
        [("payments.refused", 1, "{}"), ("payments.paid", 3, "{}"), ("payments.paid", 2, "{")]
    {
        let kind = kind(name, version, payload).await;
        assert_eq!(kind, ErrorKind::Unreadable, "{name} {version} {payload}");
    }
    assert!(notes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_json_is_read() {
    let (runtime, notes) = ledger();
    let mut envelope = envelope("payments.paid", 2, r#"{"cents":5,"currency":"CHF"}"#);
    let handle = async |envelope: &Envelope| {
        let custody = Custody::new(Origin::Delivery);
        runtime.handle(Incoming::new(envelope, &custody, 1)).await.unwrap_err()
    };
    for other in ["text/xml", "application/avro", "", "application/jsonp"] {
        envelope.metadata.content_type = other.into();
        let error = handle(&envelope).await;
        assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
    }
    assert!(notes.lock().unwrap().is_empty());
    for json in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"] {
        envelope.metadata.content_type = json.into();
        assert_eq!(handle(&envelope).await.kind(), ErrorKind::Unavailable);
    }
    assert_eq!(notes.lock().unwrap().len(), 3);
}

/// What a message of another system causes names that message as its sender did.
struct PassingOn(Arc<Mutex<Vec<Metadata>>>);

impl MessageHandler<Paid> for PassingOn {
    async fn handle(&self, _: Paid, cx: &Context) -> Result<()> {
        cx.publish(&Booked)?;
        let sent = cx.sent().into_iter().map(|envelope| envelope.metadata);
        self.0.lock().unwrap().extend(sent);
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Booked;

impl Message for Booked {
    const NAME: &'static str = "ledger.booked";
}

impl Event for Booked {}

#[tokio::test]
async fn what_a_foreign_message_causes_carries_its_correlation_and_its_id_unchanged() {
    let event = r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"payments.paid",
        "messageversion":2,"correlationid":"txn-abc-123","causationid":"evt-9",
        "data":{"cents":5,"currency":"CHF"}}"#;
    let incoming = CloudEventsJson::default().decode(&WireMessage::new(event.into())).unwrap();
    let sent = Arc::<Mutex<Vec<Metadata>>>::default();
    let context = BoundedContext::new("ledger").on(PassingOn(Arc::clone(&sent)));
    let runtime = open(context.publishes::<Booked>());
    // Without a store nothing commits, but the handler has run.
    let custody = Custody::new(Origin::Delivery);
    runtime.handle(Incoming::new(&incoming, &custody, 1)).await.unwrap_err();
    let sent = sent.lock().unwrap().pop().unwrap();
    assert_eq!(sent.correlation_id.to_string(), "txn-abc-123");
    assert_eq!(sent.causation_id.unwrap().to_string(), "A-1");
    assert_eq!(sent.headers.len(), 0, "its headers are its own");
}

#[derive(Deserialize)]
struct Refused;

impl Message for Refused {
    const NAME: &'static str = "payments.refused";
}

async fn on_refused(_: Refused, _: &Context) -> Result<()> {
    Ok(())
}

#[test]
fn a_handler_may_have_a_retry_policy_of_its_own() {
    let common = RetryPolicy::default().with_delayed(3);
    let context = BoundedContext::new("ledger")
        .on(Noting(Notes::default()))
        .on_with(on_refused, RetryPolicy::NEVER)
        .retry(common);
    let runtime = open(context);
    assert_eq!(runtime.retry_policy("payments.paid"), common);
    assert_eq!(runtime.retry_policy("payments.refused"), RetryPolicy::NEVER);
    assert_eq!(runtime.retry_policy("payments.unknown"), common);
}
