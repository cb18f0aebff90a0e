//! An idempotency key belongs to one request: it is repeated for it, and refused for another.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mamey::persistence::MemoryDatabase;
use mamey::store::{Database, Schema, Store};
use mamey::testing::scenario;
use mamey::{
    Aggregate, BoundedContext, Command, Context, ErrorKind, Query, ReadContext, Result, Retry,
    RunningService, Service, Settings, async_trait,
};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "accounts")]
struct Account {
    #[aggregate(id)]
    name: String,
    charges: Vec<i64>,
}

#[derive(Query, Serialize, Deserialize)]
#[query(name = "payments.charges", reply = Vec<i64>)]
struct Charges(String);

async fn charges(query: Charges, cx: &ReadContext) -> Result<Vec<i64>> {
    let account = cx.repository::<Account>().get(&query.0).await?;
    Ok(account.map(|account| account.charges.clone()).unwrap_or_default())
}

/// Charges, and replies with the number of the charge. The pause lets racing calls overlap.
async fn add(cx: &Context, name: String, cents: i64) -> Result<usize> {
    let accounts = cx.repository::<Account>();
    let Some(mut account) = accounts.get(&name).await? else {
        tokio::time::sleep(Duration::from_millis(5)).await;
        accounts.add(&Account { name, charges: vec![cents] })?;
        return Ok(1);
    };
    tokio::time::sleep(Duration::from_millis(5)).await;
    account.charges.push(cents);
    accounts.save(&account)?;
    Ok(account.charges.len())
}

#[derive(Clone, Debug, Command, Serialize, Deserialize)]
#[command(name = "payments.charge", reply = usize)]
struct Charge {
    account: String,
    cents: i64,
}

async fn charge(command: Charge, cx: &Context) -> Result<usize> {
    add(cx, command.account, command.cents).await
}

/// The same command as a later build has it: an optional field more.
#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "payments.charge", reply = usize)]
struct ChargeWithNote {
    note: Option<String>,
    cents: i64,
    account: String,
}

async fn charge_with_note(command: ChargeWithNote, cx: &Context) -> Result<usize> {
    add(cx, command.account, command.cents).await
}

/// The same command as a still later build has it: in another version.
#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "payments.charge", version = 2, from = Charge, reply = usize)]
struct ChargeIn {
    account: String,
    cents: i64,
    currency: String,
}

impl From<Charge> for ChargeIn {
    fn from(old: Charge) -> Self {
        Self { account: old.account, cents: old.cents, currency: "EUR".into() }
    }
}

async fn charge_in(command: ChargeIn, cx: &Context) -> Result<usize> {
    add(cx, command.account, command.cents).await
}

/// Another command with the same fields.
#[derive(Clone, Command, Serialize)]
#[command(reply = usize)]
struct Refund {
    account: String,
    cents: i64,
}

async fn refund(command: Refund, cx: &Context) -> Result<usize> {
    add(cx, command.account, -command.cents).await
}

fn payments() -> BoundedContext {
    BoundedContext::new("payments").aggregate::<Account>().query(charges).conflict_retries(100)
}

/// The builds of one service, in their order.
fn first_build() -> BoundedContext {
    payments().command(charge).command(refund).serves::<Charge>()
}

fn build_with_a_field() -> BoundedContext {
    payments().command(charge_with_note)
}

fn build_with_a_version() -> BoundedContext {
    payments().command(charge_in).serves::<ChargeIn>()
}

/// Where the service stores; each start is a process of its own as far as the store can tell.
enum On {
    Memory(Arc<MemoryDatabase>),
    Url(String),
}

/// A database in memory that outlives the service.
struct Shared(Arc<MemoryDatabase>);

#[async_trait]
impl Database for Shared {
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>> {
        self.0.open(schema).await
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn close(&self) {}
}

impl On {
    async fn start(&self, build: BoundedContext) -> RunningService {
        let service = Service::new(Settings::default()).transport_url("memory:");
        let service = match self {
            Self::Memory(database) => service.store(Shared(Arc::clone(database))),
            Self::Url(url) => service.store_url(url),
        };
        service.host(build).start().await.unwrap()
    }
}

fn of(account: &str, cents: i64) -> Charge {
    Charge { account: account.into(), cents }
}

async fn charged(service: &RunningService) -> Vec<i64> {
    service.query(Charges("a".into())).await.unwrap()
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IdempotencyKeyReused, Retry::Never));
    let text = error.to_string();
    assert!(text.contains("`payments.charge`") && text.contains("use a new key"), "{text}");
}

async fn a_key_is_repeated_for_its_request_and_refused_for_another(on: On) {
    let service = on.start(first_build()).await;
    for _ in 0..3 {
        assert_eq!(service.send(of("a", 1)).idempotency_key("k").await.unwrap(), 1);
        assert_refused(service.send(of("a", 2)).idempotency_key("k").await);
        assert_refused(service.send(of("b", 1)).idempotency_key("k").await);
    }
    assert_eq!(charged(&service).await, [1]);
    let requested = service.request(of("a", 2)).to("payments").idempotency_key("k").await;
    assert_refused(requested);
    // A key of another tenant or of another command is another key.
    let other = service.send(of("a", 3)).tenant("acme").idempotency_key("k").await;
    assert_eq!(other.unwrap(), 2);
    assert_refused(service.send(of("a", 4)).tenant("acme").idempotency_key("k").await);
    let refund = Refund { account: "a".into(), cents: 1 };
    assert_eq!(service.send(refund).idempotency_key("k").await.unwrap(), 3);
    assert_eq!(charged(&service).await, [1, 3, -1]);
    service.shutdown().await.unwrap();

    let service = on.start(first_build()).await;
    assert_eq!(service.send(of("a", 1)).idempotency_key("k").await.unwrap(), 1);
    assert_refused(service.send(of("a", 2)).idempotency_key("k").await);
    assert_eq!(charged(&service).await, [1, 3, -1]);
    service.shutdown().await.unwrap();
}

async fn of_racing_requests_one_takes_effect_and_the_others_are_refused(on: On) {
    let service = on.start(first_build()).await;
    for round in 0..5 {
        let key = format!("race-{round}");
        let call = |number: i64| {
            let request = service.send(of("a", number % 2)).idempotency_key(&key);
            async move { (number % 2, request.await) }
        };
        let answers = join_all((0..16).map(call)).await;
        let charges = charged(&service).await;
        assert_eq!(charges.len(), round + 1, "one effect");
        for (cents, answer) in answers {
            if cents == charges[round] {
                assert_eq!(answer.unwrap(), round + 1);
            } else {
                assert_refused(answer);
            }
        }
    }
    service.shutdown().await.unwrap();
}

async fn a_later_build_recognises_the_requests_of_an_earlier_one(on: On) {
    let service = on.start(first_build()).await;
    assert_eq!(service.send(of("a", 1)).idempotency_key("k").await.unwrap(), 1);
    service.shutdown().await.unwrap();

    let service = on.start(build_with_a_field()).await;
    let noted = |note| ChargeWithNote { account: "a".into(), cents: 1, note };
    assert_eq!(service.send(noted(None)).idempotency_key("k").await.unwrap(), 1);
    assert_refused(service.send(noted(Some("gift".into()))).idempotency_key("k").await);
    service.shutdown().await.unwrap();

    let service = on.start(build_with_a_version()).await;
    // Sent by a caller that still has the first version, which this build upcasts.
    let requested =
        |cents, key| service.request(of("a", cents)).to("payments").idempotency_key(key);
    assert_eq!(requested(1, "k").await.unwrap(), 1);
    assert_eq!(requested(2, "l").await.unwrap(), 2);
    let charge = |cents| ChargeIn { account: "a".into(), cents, currency: "EUR".into() };
    assert_eq!(service.send(charge(2)).idempotency_key("l").await.unwrap(), 2);
    assert_refused(service.send(charge(3)).idempotency_key("l").await);
    assert_refused(requested(3, "l").await);
    assert_eq!(charged(&service).await, [1, 2]);
    service.shutdown().await.unwrap();
}

macro_rules! on_each_store {
    ($($name:ident)*) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::On::Memory(std::sync::Arc::default())).await;
            }
        )*}

        #[cfg(feature = "sqlite")]
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("payments.db");
                super::$name(super::On::Url(format!("sqlite:{}", file.display()))).await;
            }
        )*}

        #[cfg(feature = "postgres")]
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use mamey_test_support::{postgres, require};
                let database = require!(postgres::database().await);
                super::$name(super::On::Url(database.url().to_owned())).await;
            }
        )*}
    };
}

on_each_store! {
    a_key_is_repeated_for_its_request_and_refused_for_another
    of_racing_requests_one_takes_effect_and_the_others_are_refused
    a_later_build_recognises_the_requests_of_an_earlier_one
}

#[tokio::test]
async fn the_testing_kit_compares_too() {
    let mut scenario = scenario(first_build()).await;
    scenario.when_repeatable("k", of("a", 1)).await.then_reply(1);
    scenario.when_repeatable("k", of("a", 1)).await.then_reply(1);
    let other = scenario.when_repeatable("k", of("a", 2)).await;
    other.then_fails(ErrorKind::IdempotencyKeyReused);
    scenario.when_query(Charges("a".into())).await.then_reply(vec![1]);
}
