//! A handler that needs what another message has yet to bring is retried until it has come; a caller is
//! answered at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mamey::store::{DeadLetter, DeadLetterReason};
use mamey::{
    Aggregate, Backoff, BoundedContext, Command, CommandHandler, Context, Error, ErrorKind, Event,
    Query, ReadContext, Result, RetryPolicy, RunningService, Service, Settings,
};
use mamey_test_support::until;
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "accounts")]
struct Account {
    #[aggregate(id)]
    id: String,
    #[aggregate(unique)]
    owner: String,
    cents: i64,
}

/// What happened at the counter. Each has a key of its own, so that no order holds between them.
#[derive(Clone, Event, Serialize, Deserialize)]
#[event(name = "counter.opened", key = slip)]
struct Opened {
    slip: String,
    account: String,
    owner: String,
}

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(name = "counter.paid", key = slip)]
struct Paid {
    slip: String,
    account: String,
    cents: i64,
}

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(name = "counter.closed", key = slip)]
struct Closed {
    slip: String,
    account: String,
}

#[derive(Clone, Command)]
enum Tell {
    Opened(Opened),
    Paid(Paid),
    Closed(Closed),
}

async fn tell(command: Tell, cx: &Context) -> Result<()> {
    match command {
        Tell::Opened(event) => cx.publish(&event),
        Tell::Paid(event) => cx.publish(&event),
        Tell::Closed(event) => cx.publish(&event),
    }
}

async fn on_opened(event: Opened, cx: &Context) -> Result<()> {
    let Opened { account: id, owner, .. } = event;
    cx.repository::<Account>().add(&Account { id, owner, cents: 0 })
}

async fn pay(cx: &Context, account: &String, cents: i64) -> Result<()> {
    if cents < 0 {
        return Err(Error::invalid("a negative amount"));
    }
    let accounts = cx.repository::<Account>();
    let mut account = accounts.load(account).await?;
    account.cents += cents;
    accounts.save(&account)
}

async fn on_paid(event: Paid, cx: &Context) -> Result<()> {
    pay(cx, &event.account, event.cents).await
}

async fn on_closed(event: Closed, cx: &Context) -> Result<()> {
    let accounts = cx.repository::<Account>();
    let account = accounts.load(&event.account).await?;
    accounts.remove(&account)
}

/// The same as a command.
#[derive(Clone, Command)]
struct Pay(String);

struct Paying(Arc<AtomicU32>);

impl CommandHandler<Pay> for Paying {
    async fn handle(&self, command: Pay, cx: &Context) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        pay(cx, &command.0, 1).await
    }
}

#[derive(Query)]
#[query(reply = Option<i64>)]
struct Cents(&'static str);

async fn cents(query: Cents, cx: &ReadContext) -> Result<Option<i64>> {
    let account = cx.repository::<Account>().get(&query.0.to_owned()).await?;
    Ok(account.map(|account| account.cents))
}

struct World {
    service: RunningService,
    runs: Arc<AtomicU32>,
    slips: AtomicU32,
}

impl World {
    async fn start(store: &str, transport: &str, delayed: u32) -> Self {
        let runs = Arc::<AtomicU32>::default();
        let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        let counter = BoundedContext::new("counter")
            .command(tell)
            .publishes::<Opened>()
            .publishes::<Paid>()
            .publishes::<Closed>();
        let ledger = BoundedContext::new("ledger")
            .aggregate::<Account>()
            .command(Paying(Arc::clone(&runs)))
            .query(cents)
            .on(on_opened)
            .on(on_paid)
            .on(on_closed)
            .retry(RetryPolicy::new(1, delayed, backoff));
        let settings = Settings::default().with_poll(Duration::from_millis(50));
        let service = Service::new(settings).store_url(store).transport_url(transport);
        let service = service.host(counter).host(ledger).start().await.unwrap();
        Self { service, runs, slips: AtomicU32::new(0) }
    }

    fn slip(&self) -> String {
        format!("slip {}", self.slips.fetch_add(1, Ordering::SeqCst))
    }

    async fn opened(&self, account: &str, owner: &str) {
        let (slip, account, owner) = (self.slip(), account.to_owned(), owner.to_owned());
        self.service.send(Tell::Opened(Opened { slip, account, owner })).await.unwrap();
    }

    async fn paid(&self, account: &str, cents: i64) {
        let (slip, account) = (self.slip(), account.to_owned());
        self.service.send(Tell::Paid(Paid { slip, account, cents })).await.unwrap();
    }

    async fn closed(&self, account: &str) {
        let (slip, account) = (self.slip(), account.to_owned());
        self.service.send(Tell::Closed(Closed { slip, account })).await.unwrap();
    }

    async fn until_parked(&self) {
        let store = self.service.store("ledger").unwrap();
        let parked = async || store.parked_count().await.unwrap() == 1;
        until("it is parked", PATIENCE, parked).await;
    }

    async fn until_cents(&self, account: &'static str, cents: Option<i64>) {
        let there = async || self.service.query(Cents(account)).await.unwrap() == cents;
        until("the account has it", PATIENCE, there).await;
    }

    async fn one_dead_letter(&self) -> DeadLetter {
        let store = self.service.store("ledger").unwrap();
        let there = async || !store.dead_letters(None, 2).await.unwrap().is_empty();
        until("there is a dead letter", PATIENCE, there).await;
        let mut letters = store.dead_letters(None, 2).await.unwrap();
        assert_eq!(letters.len(), 1, "{letters:?}");
        letters.remove(0)
    }

    async fn end(self, dead_letters: u64) {
        self.service.wait_until_idle().await.unwrap();
        let totals = self.service.totals().await.unwrap();
        assert_eq!((totals.parked, totals.dead_letters), (0, dead_letters), "{totals:?}");
        self.service.shutdown().await.unwrap();
    }
}

/// More than any of these tests needs.
const PATIENT: u32 = 10_000;

async fn not_found(store: &str, transport: &str) {
    let world = World::start(store, transport, PATIENT).await;
    world.paid("a", 5).await;
    world.until_parked().await;
    world.opened("a", "ann").await;
    world.until_cents("a", Some(5)).await;
    world.end(0).await;
}

async fn already_exists(store: &str, transport: &str) {
    let world = World::start(store, transport, PATIENT).await;
    world.opened("a", "ann").await;
    world.until_cents("a", Some(0)).await;
    world.opened("b", "ann").await;
    world.until_parked().await;
    world.closed("a").await;
    world.until_cents("b", Some(0)).await;
    world.until_cents("a", None).await;
    world.end(0).await;
}

async fn final_ones(store: &str, transport: &str) {
    let world = World::start(store, transport, PATIENT).await;
    world.paid("a", -5).await;
    let letter = world.one_dead_letter().await;
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Refused, 1), "{letter:?}");
    world.end(1).await;
}

async fn what_never_comes(store: &str, transport: &str) {
    let world = World::start(store, transport, 2).await;
    world.paid("a", 5).await;
    let letter = world.one_dead_letter().await;
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 4), "{letter:?}");
    assert_eq!(letter.failure.kind, "not-found");
    world.end(1).await;
}

async fn a_caller(store: &str, transport: &str) {
    let world = World::start(store, transport, PATIENT).await;
    let error = world.service.send(Pay("a".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(world.runs.load(Ordering::SeqCst), 1, "it is not retried");
    world.end(0).await;
}

macro_rules! on_each {
    ($($name:ident => $test:ident)*) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$test("memory:", "memory:").await;
            }
        )*}
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("ledger.db");
                super::$test(&format!("sqlite:{}", file.display()), "memory:").await;
            }
        )*}
        #[cfg(all(feature = "postgres", feature = "rabbitmq"))]
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use mamey_test_support::{postgres, rabbitmq, require};
                let database = require!(postgres::database().await);
                let vhost = require!(rabbitmq::vhost().await);
                super::$test(database.url(), vhost.url()).await;
            }
        )*}
    };
}

on_each! {
    an_event_waits_for_the_document_that_a_later_event_creates => not_found
    an_event_waits_for_the_value_that_a_later_event_frees => already_exists
    what_the_handler_finds_invalid_is_a_dead_letter_at_once => final_ones
    what_never_comes_is_a_dead_letter_at_the_policys_end => what_never_comes
    a_caller_is_answered_at_once => a_caller
}
