//! Messages to and from clients that are not ours: Python's `pika`, and the official SDKs of CloudEvents.

#![cfg(feature = "rabbitmq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod environment;
mod golden;
mod orders;
mod samples;
mod sdk;
mod wire;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use mamey::message::Envelope;
use mamey::messaging::{RabbitEncoding, RabbitOptions, RabbitTransport};
use mamey::{MessageId, RunningService, Service, Timestamp};
use mamey_test_support::{rabbitmq, require};
use serde_json::Value;

use golden::Golden;
use orders::{InvoiceOf, PlaceOrder};
use samples::samples;
use wire::{PATIENCE, Wire};

const ORDER: &str = "order-7";

/// The other service, killed on drop.
struct Billing {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Billing {
    fn start(python: &Path, url: &str, form: &str) -> Self {
        let mut process = Command::new(python)
            .arg(environment::here("billing.py"))
            .args([url, form])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut billing = Self { process, output };
        assert_eq!(billing.line(), "ready\n");
        billing
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// What it read.
    fn read(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Billing {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn service(url: &str, encoding: RabbitEncoding) -> RunningService {
    let options = RabbitOptions::default().with_encoding(encoding);
    let transport = RabbitTransport::connect(url, options).await.unwrap();
    let service = Service::in_memory().transport(transport).host(orders::context());
    service.start().await.unwrap()
}

/// An order is published, and its invoice comes back.
async fn trade(encoding: RabbitEncoding, form_name: &str, check: fn(&Value, &Value)) {
    let python = require!(environment::python());
    let vhost = require!(rabbitmq::vhost().await);
    let service = service(vhost.url(), encoding).await;
    let mut billing = Billing::start(&python, vhost.url(), form_name);
    service.send(PlaceOrder { order_id: ORDER.to_owned() }).await.unwrap();

    let read = billing.read();
    let properties = &read["properties"];
    assert_eq!(properties["type"], "orders.order-placed");
    assert_eq!(properties["app_id"], "orders");
    assert_eq!(properties["delivery_mode"], 2);
    let key = read["routing_key"].as_str().unwrap();
    assert!(key.starts_with("any.orders.order-placed."), "{key}");
    check(&read, properties);

    let invoiced = async {
        let both = async || service.totals().await.unwrap().duplicates_absorbed == 1;
        while !both().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, invoiced).await.expect("both copies of the invoice arrive");
    let invoice = service.query(InvoiceOf(ORDER.to_owned())).await.unwrap();
    assert_eq!(invoice, Some(format!("invoice of {ORDER}")));
    let totals = service.totals().await.unwrap();
    assert_eq!((totals.handled, totals.dead_letters), (1, 0), "it takes effect once");
    assert!(billing.process.wait().unwrap().success());
    service.shutdown().await.unwrap();
}

fn is_the_event(read: &Value, properties: &Value) {
    let attributes = &read["attributes"];
    assert_eq!(attributes["specversion"], "1.0");
    assert_eq!(attributes["type"], "orders.order-placed");
    assert_eq!(attributes["source"], "orders");
    assert_eq!(attributes["partitionkey"], ORDER);
    assert_eq!(attributes["datacontenttype"], "application/json");
    let id = attributes["id"].as_str().unwrap();
    assert!(id.parse::<MessageId>().is_ok(), "{id}");
    assert_eq!(properties["message_id"], id);
    Timestamp::parse_rfc3339(attributes["time"].as_str().unwrap()).unwrap();
    assert_eq!(read["data"]["order_id"], ORDER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudevents_in_binary_mode() {
    let check = |read: &Value, properties: &Value| {
        assert_eq!(properties["content_type"], "application/json");
        is_the_event(read, properties);
    };
    trade(RabbitEncoding::CloudEventsBinary, "binary", check).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudevents_in_structured_mode() {
    let check = |read: &Value, properties: &Value| {
        let content_type = properties["content_type"].as_str().unwrap();
        assert!(content_type.starts_with("application/cloudevents+json"), "{content_type}");
        is_the_event(read, properties);
    };
    trade(RabbitEncoding::CloudEventsJson, "structured", check).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_form() {
    let check = |read: &Value, properties: &Value| {
        assert_eq!(read["sender"], "orders");
        assert_eq!(read["target"], "MSG_SERVICE_ANY");
        assert_eq!(read["type"], "orders.order-placed");
        assert_eq!(read["payload"]["order_id"], ORDER);
        assert_eq!(read["headers"]["partitionkey"], ORDER);
        assert_eq!(read["headers"]["id"], properties["message_id"]);
    };
    trade(RabbitEncoding::Plain, "plain", check).await;
}

/// Each encoding, the name that files have of it, and whether it carries only JSON.
const ENCODINGS: [(RabbitEncoding, &str, bool); 3] = [
    (RabbitEncoding::CloudEventsBinary, "binary", false),
    (RabbitEncoding::CloudEventsJson, "structured", false),
    (RabbitEncoding::Plain, "plain", true),
];

#[tokio::test]
async fn what_we_write_is_what_the_golden_files_say() {
    let wire = Wire::new(require!(rabbitmq::vhost().await)).await;
    for (encoding, form, needs_json) in ENCODINGS {
        let is_json = |(_, it): &(&str, Envelope)| {
            serde_json::from_slice::<serde::de::IgnoredAny>(&it.payload).is_ok()
        };
        let samples: Vec<_> =
            samples().into_iter().filter(|it| !needs_json || is_json(it)).collect();
        let written = wire.written(encoding, samples.iter().map(|(_, envelope)| envelope)).await;
        for ((name, envelope), delivered) in samples.iter().zip(&written) {
            Golden::new(envelope, delivered).check(&format!("{name}.{form}"));
        }
    }
}

#[tokio::test]
async fn what_any_golden_file_holds_is_read_as_it_was_meant() {
    let mut wire = Wire::new(require!(rabbitmq::vhost().await)).await;
    let files = golden::files();
    assert!(files.len() >= samples().len() * 2, "they are there");
    for (name, golden) in files {
        let (properties, body) = golden.message();
        assert_eq!(wire.read(properties, body).await, golden.envelope(), "{name}");
    }
}

/// The SDK reads every golden file of an event, and we read what it writes.
async fn understands(sdk: &mut Command, mut wire: Wire) {
    let files = golden::files();
    let events = files.iter().filter(|(name, _)| !name.contains(".plain."));
    let (names, messages): (Vec<&str>, Vec<&Golden>) =
        events.map(|(name, golden)| (&**name, golden)).unzip();
    let seen = sdk::ask(sdk, &messages);
    seen.check_read(&names, &messages);
    let mut count = 0;
    for (name, (properties, body)) in seen.written() {
        sdk::check_ours(name, &wire.read(properties, body).await);
        count += 1;
    }
    assert!(count >= 6, "it writes each event in each mode");
}

#[tokio::test]
async fn the_sdk_for_python_reads_what_we_write_and_is_read() {
    let python = require!(environment::python());
    let wire = Wire::new(require!(rabbitmq::vhost().await)).await;
    understands(Command::new(python).arg(environment::here("sdk.py")), wire).await;
}

#[tokio::test]
async fn the_strict_sdk_for_javascript_reads_what_we_write_and_is_read() {
    let mut javascript = require!(environment::javascript());
    let wire = Wire::new(require!(rabbitmq::vhost().await)).await;
    understands(&mut javascript, wire).await;
}
