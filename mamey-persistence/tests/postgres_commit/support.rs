//! A shop on a database of the test's own, its units of work, and what keeps its calls under way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mamey_core::Error;
use mamey_core::criteria::{Collection, Index, Value, ValueType};
use mamey_core::id::MessageId;
use mamey_core::message::{ContextName, Envelope, Metadata};
use mamey_core::store::{
    Change, CommitOutcome, Database, Expected, Failure, Origin, Outcome, Receipt, Schema, Store,
    UnitOfWork, Write,
};
use mamey_persistence::{PostgresDatabase, PostgresOptions, enlist};
use mamey_test_support::Session;
use tokio::time::timeout;
use uuid::Uuid;

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) static NOTES: Collection = Collection::new("notes", ValueType::Int);

pub(crate) static PEOPLE: Collection = Collection::new("people", ValueType::Int).with_indexes(&[
    Index::new("email", ValueType::Text).with_unique(true),
    Index::new("age", ValueType::Int),
]);

pub(crate) fn schema(context: &str) -> Schema {
    let context = ContextName::new(context).unwrap();
    Schema::new(context, vec![&PEOPLE, &NOTES])
}

/// Without the wake-up, whose sessions would be counted too.
pub(crate) async fn connect(url: &str) -> PostgresDatabase {
    let options = PostgresOptions::default().with_listen(false);
    PostgresDatabase::connect(url, options).await.unwrap()
}

pub(crate) async fn open(database: &PostgresDatabase, context: &str) -> Arc<dyn Store> {
    database.open(&schema(context)).await.unwrap()
}

pub(crate) fn note(id: i64, expected: Expected) -> Write {
    note_of(id, expected, "{}".to_owned())
}

pub(crate) fn note_of(id: i64, expected: Expected, data: String) -> Write {
    let change = Change::Put { data: Bytes::from(data), index: Vec::new() };
    Write::new(&NOTES, Value::Int(id), expected, change)
}

pub(crate) fn person(id: i64, expected: Expected, email: Option<i64>) -> Write {
    let email = email.map_or(Value::Null, |email| Value::Text(format!("{email}@example.org")));
    let data = Bytes::from(format!("{{\"email\":\"{email}\"}}"));
    let change = Change::Put { data, index: vec![email, Value::Int(id)] };
    Write::new(&PEOPLE, Value::Int(id), expected, change)
}

pub(crate) fn writes(writes: impl IntoIterator<Item = Write>) -> UnitOfWork {
    UnitOfWork::default().with_writes(writes.into_iter().collect())
}

pub(crate) fn message(number: u128, key: Option<&str>) -> Envelope {
    let id = MessageId::from_uuid(Uuid::from_u128(number));
    let mut metadata = Metadata::new(id, "shop.changed", "shop");
    metadata.key = key.map(Into::into);
    Envelope::new(metadata, Bytes::from(format!("{{\"number\":{number}}}")))
}

pub(crate) fn handles(mut unit: UnitOfWork, incoming: &Envelope) -> UnitOfWork {
    let (envelope, origin) = (incoming.clone(), Origin::Delivery);
    unit.receipt = Some(Receipt::new(envelope, origin, Outcome::Handled));
    unit
}

pub(crate) fn parks(number: u128, lane: &str) -> UnitOfWork {
    let mut unit = handles(UnitOfWork::default(), &message(number, Some(lane)));
    let failure = Failure::from(&Error::rejected("shop.closed", "the shop is closed"));
    if let Some(receipt) = &mut unit.receipt {
        let delay = Duration::ZERO;
        receipt.outcome = Outcome::Park { delay, attempts: 1, failure };
    }
    unit
}

pub(crate) async fn commit(store: &dyn Store, unit: UnitOfWork) {
    let outcome = soon(store.commit(unit)).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
}

/// The output of a future, which must be ready in time.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes in time")
}

/// An open transaction that a unit has joined.
pub(crate) async fn held(url: &str, store: &dyn Store, unit: UnitOfWork) -> Session {
    let mut own = Session::of(url).await;
    own.run("BEGIN ISOLATION LEVEL READ COMMITTED").await;
    let enlisted = soon(enlist(store, &mut own, unit)).await.unwrap();
    assert!(matches!(enlisted.outcome(), CommitOutcome::Committed(_)));
    own
}

/// Keeps all calls of a context under way, so that units which arrive meanwhile share the next.
pub(crate) struct Plug {
    outsider: Session,
    context: String,
    plugs: Vec<tokio::task::JoinHandle<()>>,
}

/// As many as there are calls under way at a time; each needs a note of its own.
const PLUGS: [i64; 2] = [900, 901];

/// Updates of such notes take as long as their context is plugged. They hold no lock meanwhile that
/// another unit waits for.
const SLOW: &str = "\
CREATE TABLE IF NOT EXISTS public.plugged (context text);
CREATE OR REPLACE FUNCTION public.plug() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WHILE EXISTS (SELECT FROM public.plugged WHERE context = TG_TABLE_SCHEMA) LOOP
    PERFORM pg_sleep(0.002);
  END LOOP;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER plug BEFORE UPDATE ON \"{context}\".notes FOR EACH ROW
  WHEN (NEW.id BETWEEN 900 AND 901) EXECUTE FUNCTION public.plug();
INSERT INTO public.plugged VALUES ('{context}')";

impl Plug {
    /// Writes the notes that plugs need.
    pub(crate) async fn prepare(store: &dyn Store) {
        commit(store, writes(PLUGS.map(|id| note(id, Expected::Absent)))).await;
    }

    pub(crate) async fn set(url: &str, context: &str, store: &Arc<dyn Store>) -> Self {
        let mut outsider = Session::of(url).await;
        outsider.run(&SLOW.replace("{context}", context)).await;
        let mut plugs = Vec::new();
        for (number, id) in (1..).zip(PLUGS) {
            let store = Arc::clone(store);
            plugs.push(tokio::spawn(async move {
                commit(&*store, writes([note(id, Expected::Version(1))])).await;
            }));
            let slow = format!(
                "SELECT count(*) = {number} FROM pg_locks JOIN pg_stat_activity USING (pid)
                 WHERE datname = current_database() AND relation = '\"{context}\".notes'::regclass AND mode = 'RowExclusiveLock'"
            );
            outsider.until(&slow).await;
        }
        Self { outsider, context: context.to_owned(), plugs }
    }

    pub(crate) async fn pull(mut self) {
        let pull = format!("DELETE FROM public.plugged WHERE context = '{}'", self.context);
        self.outsider.run(&pull).await;
        for plug in self.plugs {
            soon(plug).await.unwrap();
        }
    }
}
