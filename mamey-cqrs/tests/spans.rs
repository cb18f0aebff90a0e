//! The fields of a call's span, by the OpenTelemetry conventions.
//!
//! It is a program of its own: whether a span is enabled is decided once per process, and a test
//! without a subscriber could disable it for these.

#![allow(clippy::unwrap_used, reason = "tests may unwrap, their helpers too")]

#[path = "bus/no_store.rs"]
mod no_store;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use mamey_core::inbound::{Custody, Inbound, Incoming};
use mamey_core::store::Origin;
use mamey_core::{Command, Context, Error, Message, Result};
use mamey_cqrs::BoundedContext;
use serde::Deserialize;
use tracing::Level;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt::format::FmtSpan;

use no_store::{envelope, open};

#[derive(Clone, Deserialize)]
struct Paid {}

impl Message for Paid {
    const NAME: &'static str = "payments.paid";
}

impl Command for Paid {
    type Reply = ();
}

async fn on_paid(_: Paid, _: &Context) -> Result<()> {
    tracing::info!("inside");
    Err(Error::rejected("ledger.closed", "the books are closed"))
}

/// Collects what a subscriber writes.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn written_by(call: impl Future<Output = Error>) -> String {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    call.with_subscriber(subscriber).await;
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn the_span_of_a_message_names_it_and_its_failure() {
    let runtime = open(BoundedContext::new("ledger").on(on_paid));
    let mut envelope = envelope(Paid::NAME, 1, "{}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    envelope.metadata.trace = Some(trace.parse().unwrap());
    let custody = Custody::new(Origin::Delivery);
    let incoming = Incoming::new(&envelope, &custody, 3);
    let written = written_by(async { runtime.handle(incoming).await.unwrap_err() }).await;
    let (inside, closed) = written.trim_end().split_once('\n').unwrap();
    assert!(inside.contains("payments.paid") && inside.contains("inside"), "{inside}");
    for field in [
        "otel.name=process payments.paid",
        "otel.kind=\"consumer\"",
        "messaging.operation.type=\"process\"",
        "messaging.destination.name=\"payments.paid\"",
        &format!("messaging.message.id={}", envelope.metadata.id),
        "messaging.consumer.group.name=ledger",
        "mamey.attempt=3",
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
        "otel.status_code=\"ERROR\"",
        "error.type=\"ledger.closed\"",
    ] {
        assert!(closed.contains(field), "{field} is missing in: {closed}");
    }
}

#[tokio::test]
async fn the_span_of_a_command_claims_no_message_from_a_transport() {
    let runtime = open(BoundedContext::new("ledger").command(on_paid));
    let written = written_by(async { runtime.send(Paid {}).await.unwrap_err() }).await;
    assert!(written.contains("otel.name=handle payments.paid"), "{written}");
    assert!(!written.contains("messaging.operation.type"), "{written}");
    assert!(!written.contains("messaging.message.id"), "{written}");
}

#[tokio::test]
async fn what_nobody_handles_is_reported_once_for_each_name_up_to_a_bound() {
    let runtime = open(BoundedContext::new("ledger").on(on_paid));
    let unhandled = async |name: &'static str| {
        let envelope = envelope(name, 1, "{}");
        let custody = Custody::new(Origin::Delivery);
        let incoming = Incoming::new(&envelope, &custody, 1);
        written_by(async { runtime.handle(incoming).await.unwrap_err() }).await
    };
    let written = unhandled("payments.refunded").await;
    for words in ["ERROR", "context=ledger", "payments.refunded", ".forgets(…)"] {
        assert!(written.contains(words), "{words} is missing in: {written}");
    }
    assert_eq!(unhandled("payments.refunded").await, "");
    assert!(unhandled("payments.voided").await.contains("payments.voided"));
    let names = (0..100).map(|number| &*format!("payments.kind-{number}").leak());
    let mut reported = 0;
    for name in names {
        reported += usize::from(!unhandled(name).await.is_empty());
    }
    assert_eq!(reported, 62);
}
