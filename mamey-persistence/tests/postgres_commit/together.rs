//! Compares units that commit together with the same units one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use mamey_core::clock::{ManualClock, Timestamp};
use mamey_core::criteria::Value;
use mamey_core::message::Partition;
use mamey_core::store::{
    CommitOutcome, Database, InstanceId, KnownReply, LOAD_BYTES_MAX, LeaseRequest, LeaseRole,
    OutboxRead, Store,
};
use mamey_persistence::{MemoryDatabase, MemoryOptions, PostgresDatabase};
use mamey_test_support::{postgres, require};
use proptest::test_runner::{Config, TestError, TestRunner};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::model::{DOCUMENTS, MESSAGES, Plan, REPLIES, begin, incoming, plans, said};
use super::support::{NOTES, PEOPLE, Plug, connect, open, schema, soon};

const CASES: u32 = 24;

/// Random units that wait for one call have the same results as in a store without any coalescing,
/// one after the other: the committed ones in the order of their transactions, and each refused one
/// at some moment between them.
#[test]
fn random_units_together_equal_units_one_by_one() {
    let runtime = Runtime::new().unwrap();
    let test = require!(runtime.block_on(postgres::database()));
    let database = runtime.block_on(connect(test.url()));
    let tally = Mutex::new(Tally::default());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let case = AtomicU32::new(0);
    let result = TestRunner::new(config).run(&plans(), |plans| {
        let context = format!("case-{}", case.fetch_add(1, Ordering::Relaxed));
        let case = together_equals_one_by_one(&database, test.url(), &context, &plans);
        let case = runtime.block_on(case);
        tally.lock().unwrap().add(case);
        Ok(())
    });
    if let Err(TestError::Fail(reason, plans)) = result {
        panic!("{reason}\n{plans:#?}");
    }
    let Tally { committed, in_company, refused } = tally.into_inner().unwrap();
    // Otherwise the test has shown nothing.
    assert!(in_company * 4 > committed && refused * 4 > committed);
}

/// How many units were committed, how many of them in one transaction with others, and how many
/// were refused.
#[derive(Clone, Copy, Default)]
struct Tally {
    committed: usize,
    in_company: usize,
    refused: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.committed += other.committed;
        self.in_company += other.in_company;
        self.refused += other.refused;
    }
}

async fn together_equals_one_by_one(
    database: &PostgresDatabase,
    url: &str,
    context: &str,
    plans: &[Plan],
) -> Tally {
    let store = open(database, context).await;
    begin(&*store).await;
    Plug::prepare(&*store).await;
    let plug = Plug::set(url, context, &store).await;
    let commits = join_all((0..).zip(plans).map(|(number, plan)| store.commit(plan.unit(number))));
    let (outcomes, ()) = soon(async { tokio::join!(commits, plug.pull()) }).await;
    let mut committed = Vec::new();
    let mut refused = Vec::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(CommitOutcome::Committed(token)) => committed.push((*token, number)),
            other => refused.push((number, said(other))),
        }
    }
    committed.sort();
    let company = committed.chunk_by(|(one, _), (two, _)| one == two).filter(|it| it.len() > 1);
    let tally = Tally {
        in_company: company.map(<[_]>::len).sum(),
        committed: committed.len(),
        refused: refused.len(),
    };
    let order: Vec<_> = committed.into_iter().map(|(_, number)| number).collect();
    let alone = replay(plans, &order).await;
    assert_eq!(seen(&*store).await, seen(&*alone).await, "after {order:?} of {outcomes:?}");
    for (number, outcome) in refused {
        let mut explained = false;
        for until in 0..=order.len() {
            let alone = replay(plans, &order[..until]).await;
            explained |= said(&alone.commit(unit(plans, number)).await) == outcome;
        }
        assert!(explained, "unit {number} was refused ({outcome}), but is at no time: {order:?}");
    }
    tally
}

fn unit(plans: &[Plan], number: usize) -> mamey_core::store::UnitOfWork {
    plans[number].unit(u128::try_from(number).unwrap())
}

/// The memory store after these units, all of which it takes.
async fn replay(plans: &[Plan], order: &[usize]) -> Arc<dyn Store> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let database = MemoryDatabase::with_options(MemoryOptions::default().with_clock(clock));
    let store = database.open(&schema("alone")).await.unwrap();
    begin(&*store).await;
    for number in order {
        let outcome = store.commit(unit(plans, *number)).await;
        assert_eq!(said(&outcome), "committed", "unit {number} of {order:?}: {outcome:?}");
    }
    store
}

/// Everything that can be read from a store.
#[derive(Debug, PartialEq)]
struct Seen {
    documents: Vec<Option<(u64, String)>>,
    received: Vec<bool>,
    replies: Vec<Option<KnownReply>>,
    parked: BTreeSet<(Uuid, u32)>,
    dead: BTreeSet<(Uuid, u32)>,
    /// By key, in order; those without one in none.
    sent: BTreeMap<Option<String>, Vec<Uuid>>,
}

async fn seen(store: &dyn Store) -> Seen {
    let mut documents = Vec::new();
    let ids: Vec<_> = (0..DOCUMENTS).map(Value::Int).collect();
    for collection in [&PEOPLE, &NOTES] {
        for document in store.load(collection, &ids, LOAD_BYTES_MAX).await.unwrap() {
            let text = |data: &[u8]| String::from_utf8_lossy(data).replace(' ', "");
            documents.push(document.map(|it| (it.version, text(&it.data))));
        }
    }
    let mut received = Vec::new();
    for number in 0..MESSAGES {
        let id = incoming(number).metadata.identity();
        received.push(store.was_received(id).await.unwrap());
    }
    let mut replies = Vec::new();
    for key in 0..REPLIES {
        replies.push(store.saved_reply("shop.count", &key.to_string()).await.unwrap());
    }
    let dead = store.dead_letters(None, 100).await.unwrap();
    let dead = dead.iter().map(|it| (it.envelope.metadata.id.as_uuid(), it.attempts)).collect();
    let (parked, sent) = (parked(store).await, sent(store).await);
    Seen { documents, received, replies, parked, dead, sent }
}

/// The heads of the lanes, and how many messages are parked in all.
async fn parked(store: &dyn Store) -> BTreeSet<(Uuid, u32)> {
    let all = [Partition::new(0, 1).unwrap()];
    let due = store.due_parked(&all, 100).await.unwrap();
    let mut parked: BTreeSet<_> =
        due.iter().map(|it| (it.envelope.metadata.id.as_uuid(), it.attempts)).collect();
    let count = u32::try_from(store.parked_count().await.unwrap()).unwrap();
    parked.insert((Uuid::nil(), count));
    parked
}

async fn sent(store: &dyn Store) -> BTreeMap<Option<String>, Vec<Uuid>> {
    let request = LeaseRequest::new(
        LeaseRole::Relay,
        InstanceId::new(Uuid::from_u128(1)),
        1,
        std::time::Duration::from_secs(60),
    );
    let leases = store.hold_leases(request).await.unwrap().leases;
    let read = OutboxRead::new(&leases, 1000);
    let mut sent: BTreeMap<Option<String>, Vec<Uuid>> = BTreeMap::new();
    for record in store.read_outbox(read).await.unwrap().records {
        let metadata = record.envelope.metadata;
        let key = metadata.key.map(|key| key.as_str().to_owned());
        sent.entry(key).or_default().push(metadata.id.as_uuid());
    }
    if let Some(without_key) = sent.get_mut(&None) {
        without_key.sort();
    }
    sent
}
