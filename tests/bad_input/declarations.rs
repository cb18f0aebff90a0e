//! Contexts that are declared wrongly: refused at the start, with every mistake and its fix.

use mamey::criteria::{Collection, Index, ValueType};
use mamey::message::Headers;
use mamey::{
    Aggregate, BoundedContext, Command, Context, ErrorKind, Event, Message, Result, Service,
};
use serde::{Deserialize, Serialize};

use crate::domain::{Note, Said, Script, deaf_listener, listener, speaker};
use crate::words::assert_fails;

async fn refused(contexts: impl IntoIterator<Item = BoundedContext>, words: &[&str]) {
    crate::panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.db");
    let contexts: Vec<_> = contexts.into_iter().collect();
    let host = |service: Service, context| service.host(context);
    let service = Service::in_memory().store_url(format!("sqlite:{}", file.display()));
    let started = contexts.into_iter().fold(service, host).start().await;
    assert_fails(started, ErrorKind::Misconfigured, words);
    // Nothing is left running: the same file serves the next start.
    let service = Service::in_memory().store_url(format!("sqlite:{}", file.display()));
    let running = service.host(speaker()).start().await.unwrap();
    running.shutdown().await.unwrap();
    crate::panics::assert_none();
}

#[tokio::test]
async fn a_service_without_contexts_is_refused() {
    refused([], &["hosts no context", "add one with `.host("]).await;
}

#[tokio::test]
async fn two_contexts_of_one_name_are_refused() {
    let twice = [speaker(), listener(&Script::default()), speaker()];
    refused(twice, &["two contexts have the name `speaker`", "hosts each context once"]).await;
}

#[tokio::test]
async fn names_that_no_backend_could_take_are_refused() {
    for name in ["", "Orders", "1orders", "or ders", "or.ders", "a\0b", "ordérs", &"x".repeat(49)]
    {
        let context = BoundedContext::new(name);
        refused([context], &[&format!("`{name}` cannot name a context"), "use lowercase"]).await;
    }
}

#[derive(Clone, Command)]
struct Order;

async fn one(_: Order, _: &Context) -> Result<()> {
    Ok(())
}

async fn other(_: Order, _: &Context) -> Result<()> {
    Ok(())
}

async fn hear(_: Said, _: &Context) -> Result<()> {
    Ok(())
}

#[tokio::test]
async fn two_handlers_for_one_message_are_refused() {
    let commands = BoundedContext::new("orders").command(one).command(other);
    let words = ["two handlers for command `order`", "`orders`", "remove one registration"];
    refused([commands], &words).await;
    let messages = deaf_listener().on(hear).on(hear);
    let words = ["two handlers for message `speaker.said`", "`listener`", "remove one"];
    refused([messages], &words).await;
}

#[tokio::test]
async fn an_event_or_an_aggregate_declared_twice_is_refused() {
    let events = speaker().publishes::<Said>();
    refused([events], &["published event `speaker.said`", "remove one"]).await;
    refused([speaker().aggregate::<Note>()], &["collection `notes`", "remove one"]).await;
}

#[derive(Serialize, Deserialize)]
struct Shouted;

impl Message for Shouted {
    const NAME: &'static str = "Shouted Loudly!";
}

impl Event for Shouted {}

#[tokio::test]
async fn a_malformed_message_name_is_refused() {
    let words = ["`Shouted Loudly!` cannot name a message", "joined by dots"];
    refused([BoundedContext::new("orders").publishes::<Shouted>()], &words).await;
}

#[derive(Serialize, Deserialize)]
struct Injected(String);

impl Aggregate for Injected {
    type Id = String;
    const COLLECTION: &'static Collection =
        &Collection::new("a\"; DROP TABLE x; --", ValueType::Text);

    fn id(&self) -> &String {
        &self.0
    }

    fn index_values(&self) -> Vec<mamey::criteria::Value> {
        Vec::new()
    }
}

#[derive(Serialize, Deserialize)]
struct BadField(String);

impl Aggregate for BadField {
    type Id = String;
    const COLLECTION: &'static Collection = &Collection::new("fields", ValueType::Text)
        .with_indexes(&[Index::new("a b", ValueType::Text)]);

    fn id(&self) -> &String {
        &self.0
    }

    fn index_values(&self) -> Vec<mamey::criteria::Value> {
        vec![mamey::criteria::Value::Null]
    }
}

#[tokio::test]
async fn malformed_names_of_collections_and_fields_are_refused() {
    let words = ["DROP TABLE", "cannot name a collection", "use lowercase letters"];
    refused([BoundedContext::new("orders").aggregate::<Injected>()], &words).await;
    let words = ["`a b` of `fields`", "cannot be indexed", "use letters"];
    refused([BoundedContext::new("orders").aggregate::<BadField>()], &words).await;
}

#[test]
fn one_header_too_many_is_refused_by_name() {
    let mut headers = Headers::default();
    for number in 0..32 {
        headers.insert(&format!("h{number}"), "v").unwrap();
    }
    let words = ["`region`", "32", "put it into the payload"];
    assert_fails(headers.insert("region", "eu"), ErrorKind::LimitExceeded, &words);
    for name in ["", "a\0b", "régio", &"x".repeat(21)] {
        let words = [&format!("`{name}` cannot name a header"), "use 1 to 20 lowercase letters"];
        assert_fails(headers.insert(name, "v"), ErrorKind::Invalid, &words);
    }
}
