//! One unit of work on PostgreSQL compared with the same written by hand with sqlx, and the relay
//! compared with a handwritten loop.
//!
//! All use one server and take turns. A unit handles a message: it loads an account, saves it,
//! publishes an event and marks the message as received.

mod support;

#[path = "support/bank.rs"]
mod bank;
#[path = "support/postgres_by_hand.rs"]
mod by_hand;
#[path = "support/postgres_relay.rs"]
mod relay;

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mamey::criteria::{Collection, Value};
use mamey::id::MessageId;
use mamey::inbound::{Custody, Inbound, Incoming};
use mamey::message::{Envelope, Metadata};
use mamey::persistence::{PostgresDatabase, PostgresOptions};
use mamey::store::{CommitOutcome, Database, LOAD_BYTES_MAX, Origin, Store};
use mamey::{BoundedContext, Context, Event, Result, Uuid};
use mamey_cqrs::{ContextRuntime, Resources};
use mamey_test_support::postgres;
use serde::{Deserialize, Serialize};

use bank::{AMOUNT_CENTS, Account, Deposited, OWNER, Open, Way, add, go_for, open_account};
use by_hand::ByHand;
use support::{Measured, Report, wants};

/// How often each side has its turn.
const ROUNDS: usize = 9;

/// How long a turn takes.
const TURN: Duration = Duration::from_millis(500);

/// The same number for both sides.
const CONNECTIONS_MAX: u32 = 10;

/// How many records the outbox holds when a turn of draining it begins.
const DRAINED: i64 = 20_000;

/// The size of the backlog for which the relay's memory is measured, unless `MAMEY_BENCH_RECORDS` is set.
const BACKLOG: i64 = 1_000_000;

const DURABILITY: &str = "SELECT current_setting('fsync'), current_setting('synchronous_commit')";

#[derive(Event, Serialize, Deserialize)]
#[event(name = "payments.payment-taken", key = account)]
struct PaymentTaken {
    account: Uuid,
    amount_cents: i64,
}

async fn on_payment_taken(event: PaymentTaken, cx: &Context) -> Result<()> {
    add(event.account, event.amount_cents, cx).await.map(drop)
}

/// An operation on an account, by Mamey or by hand.
#[derive(Clone)]
enum Side {
    Ours(Arc<ContextRuntime>),
    OurLoad(Arc<dyn Store>, &'static Collection),
    Transaction(ByHand),
    Statement(ByHand),
    Load(ByHand),
}

impl Way for Side {
    async fn go(&self, account: Uuid) -> Result<(), String> {
        let message = Uuid::now_v7();
        match self {
            Self::Ours(bank) => handle(bank, account, message).await,
            Self::OurLoad(store, accounts) => load(&**store, accounts, account).await,
            Self::Transaction(hand) => text(hand.in_transaction(account, message).await),
            Self::Statement(hand) => text(hand.in_one_statement(account, message).await),
            Self::Load(hand) => text(hand.load(account).await),
        }
    }
}

async fn handle(bank: &ContextRuntime, account: Uuid, message: Uuid) -> Result<(), String> {
    let id = MessageId::from_uuid(message);
    let mut metadata = Metadata::new(id, "payments.payment-taken", "payments");
    metadata.key = Some(account.to_string().as_str().into());
    let event = PaymentTaken { account, amount_cents: AMOUNT_CENTS };
    let payload = text(serde_json::to_vec(&event))?.into();
    let envelope = Envelope::new(metadata, payload);
    let custody = Custody::new(Origin::Delivery);
    let incoming = Incoming::new(&envelope, &custody, 1);
    match text(bank.handle(incoming).await)? {
        CommitOutcome::Committed(_) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn load(
    store: &dyn Store,
    accounts: &'static Collection,
    account: Uuid,
) -> Result<(), String> {
    let loaded = text(store.load(accounts, &[Value::Uuid(account)], LOAD_BYTES_MAX).await)?;
    let document = loaded.into_iter().flatten().next().ok_or("no such account")?;
    let _account: Account = text(serde_json::from_slice(&document.data))?;
    Ok(())
}

fn text<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = postgres::database().await?;
    let ids = bank::accounts();
    let options = PostgresOptions::default().with_connections_max(CONNECTIONS_MAX);
    let database = PostgresDatabase::connect(server.url(), options).await?;
    let bank = BoundedContext::new("bank")
        .aggregate::<Account>()
        .command(open_account)
        .on(on_payment_taken)
        .publishes::<Deposited>();
    let schema = bank.schema()?;
    let accounts = *schema.collections.first().ok_or("the bank has no accounts")?;
    let store = Database::open(&database, &schema).await?;
    let bank = bank.open(Resources::new(Arc::clone(&store)))?;
    for id in ids.iter() {
        bank.send(Open(*id)).await?;
    }
    let hand = ByHand::open(server.url(), CONNECTIONS_MAX, &ids).await?;
    let mut report = Report::new("postgres");
    let ours = Side::Ours(bank);
    if wants("units") {
        units(&mut report, &database, ours.clone(), &hand, &ids).await?;
    }
    if wants("loads") {
        let ways = [Side::OurLoad(Arc::clone(&store), accounts), Side::Load(hand.clone())];
        let against = [("load by id".to_owned(), Some(0.9))];
        meet(&mut report, &ways, &against, "loads/s", 1, &ids).await?;
    }
    if wants("relay") {
        for id in ids.iter() {
            ours.go(*id).await?;
        }
        relay::take_samples(&hand.0).await?;
        drain(&mut report, &store, &hand).await?;
        backlog(&mut report, &store, &hand).await?;
    }
    let kept: (String, String) = sqlx::query_as(DURABILITY).fetch_one(&hand.0).await?;
    report.note(format!("one server for all: fsync={} synchronous_commit={}", kept.0, kept.1));
    database.close().await;
    Ok(report.publish()?)
}

/// Units of work, by one task and by many.
async fn units(
    report: &mut Report,
    database: &PostgresDatabase,
    ours: Side,
    hand: &ByHand,
    ids: &Arc<Vec<Uuid>>,
) -> Result<(), Box<dyn Error>> {
    let ways = [ours, Side::Transaction(hand.clone()), Side::Statement(hand.clone())];
    for (tasks, transaction, statement) in
        [(1, Some(1.4), Some(0.9)), (16, None, None), (64, None, None)]
    {
        let before = database.stats();
        let name = format!("{tasks} at a time");
        let against = [
            (format!("unit of work, {name}: BEGIN … COMMIT"), transaction),
            (format!("unit of work, {name}: one statement"), statement),
        ];
        meet(report, &ways, &against, "units/s", tasks, ids).await?;
        let after = database.stats();
        let calls = (after.calls - before.calls) as f64 / (after.units - before.units) as f64;
        report.add(Measured::limit(format!("calls for one unit, {name}"), calls, "", None));
    }
    Ok(())
}

/// Runs the first way and each of the others in turns, starting with another one in each round.
async fn meet(
    report: &mut Report,
    ways: &[Side],
    against: &[(String, Option<f64>)],
    unit: &'static str,
    tasks: usize,
    ids: &Arc<Vec<Uuid>>,
) -> Result<(), Box<dyn Error>> {
    let mut rates = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for turn in 0..ways.len() {
            let at = (round + turn) % ways.len();
            let (_, rate) = go_for(&ways[at], TURN, tasks, ids).await?;
            // The first round prepares the statements, and does not count.
            if round > 0 {
                rates[at].push(rate);
            }
        }
    }
    for (theirs, (name, target)) in rates[1..].iter().zip(against) {
        let sides = [&*rates[0], theirs];
        report.add(Measured::peer(name, unit, sides, |ours, theirs| ours / theirs, *target));
    }
    Ok(())
}

/// Measures the memory of a relay on an outbox with a large backlog.
async fn backlog(
    report: &mut Report,
    store: &Arc<dyn Store>,
    hand: &ByHand,
) -> Result<(), Box<dyn Error>> {
    let records = env::var("MAMEY_BENCH_RECORDS").ok().and_then(|text| text.parse().ok());
    let records = relay::fill(&hand.0, records.unwrap_or(BACKLOG)).await?;
    let growth = relay::growth_mib(store, records).await?;
    let name = format!("memory of a relay over {records} records");
    report.add(Measured::limit(name, growth, "MiB", Some(64.0)));
    Ok(())
}

/// Lets the relay and the handwritten loop empty the same outbox in turns.
async fn drain(
    report: &mut Report,
    store: &Arc<dyn Store>,
    hand: &ByHand,
) -> Result<(), Box<dyn Error>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let records = relay::fill(&hand.0, DRAINED).await?;
        ours.push(relay::ours(store, records).await?);
        let records = relay::fill(&hand.0, DRAINED).await?;
        theirs.push(relay::by_hand(&hand.0, records).await?);
    }
    let name = "relay: SELECT … SKIP LOCKED, publish, DELETE";
    let sides = [&*ours, &*theirs];
    let rate = |ours, theirs| ours / theirs;
    report.add(Measured::peer(name, "records/s", sides, rate, Some(1.0)));
    Ok(())
}
