//! What this build cannot read costs itself alone: a running service goes on, says so once, and leaves
//! it for a build that can.
#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::criteria::Value;
use mamey::message::{Envelope, Metadata};
use mamey::persistence::{PostgresDatabase, PostgresOptions, SqliteDatabase, SqliteOptions};
use mamey::store::{
    Change, Database, Expected, Failure, Origin, Outcome, Receipt, Store, UnitOfWork,
};
use mamey::{
    Aggregate, BoundedContext, Command, Context, Criteria, Error, Event, MessageId, Query,
    ReadContext, Resources, Result, RunningService, Service, Settings,
};
use mamey_test_support::{Session, postgres, require, until};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tracing_subscriber::filter::LevelFilter;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Command)]
struct Strike {
    bell: String,
    number: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "tower.struck", key = bell)]
struct Struck {
    bell: String,
    number: i64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "bells")]
struct Bell {
    #[aggregate(id)]
    name: String,
    numbers: Vec<i64>,
}

/// What was heard of each bell, and how many bells cannot be read.
#[derive(Query)]
#[query(reply = (Vec<(String, Vec<i64>)>, usize))]
struct Heard;

async fn strike(command: Strike, cx: &Context) -> Result<()> {
    cx.publish(&Struck { bell: command.bell, number: command.number })
}

async fn on_struck(event: Struck, cx: &Context) -> Result<()> {
    let bells = cx.repository::<Bell>();
    match bells.get(&event.bell).await? {
        Some(mut bell) => {
            bell.numbers.push(event.number);
            bells.save(&bell)
        }
        None => bells.add(&Bell { name: event.bell, numbers: vec![event.number] }),
    }
}

async fn heard(_: Heard, cx: &ReadContext) -> Result<(Vec<(String, Vec<i64>)>, usize)> {
    let page = cx.repository::<Bell>().find(Criteria::all()).await?;
    let bells = page.items.into_iter().map(|bell| {
        let bell = bell.into_inner();
        (bell.name, bell.numbers)
    });
    Ok((bells.collect(), page.unreadable.len()))
}

fn tower() -> BoundedContext {
    BoundedContext::new("tower").command(strike).publishes::<Struck>()
}

fn town() -> BoundedContext {
    BoundedContext::new("town").aggregate::<Bell>().on(on_struck).query(heard)
}

/// What was logged by this thread, on which everything of a test runs.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let logger = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::set_default(logger.finish())
    }

    fn lines(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains(words)).map(ToOwned::to_owned).collect()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message that failed once and is parked.
fn parked(number: i64, bell: &str) -> UnitOfWork {
    let event = Struck { bell: bell.to_owned(), number };
    let id = MessageId::from_foreign("tower", &format!("{bell} {number}"));
    let metadata = Metadata::new(id, "tower.struck", "tower").with_key(Some(bell.into()));
    let envelope = Envelope::new(metadata, serde_json::to_vec(&event).unwrap().into());
    let failure = Failure::from(&Error::unavailable("the ringer slept"));
    let outcome = Outcome::Park { delay: Duration::ZERO, attempts: 1, failure };
    UnitOfWork::default().with_receipt(Receipt::new(envelope, Origin::Delivery, outcome))
}

/// A bell of a form that this build does not know.
fn strange_bell() -> UnitOfWork {
    let data = r#"{"name":"strange","numbers":"seven"}"#.into();
    let (id, change) = (Value::Text("strange".to_owned()), Change::Put { data, index: vec![] });
    let write = mamey::store::Write::new(Bell::COLLECTION, id, Expected::Absent, change);
    UnitOfWork::default().with_writes(vec![write])
}

/// Commits messages while nothing relays or consumes.
async fn plant(database: &dyn Database) {
    let tower = tower();
    let store = database.open(&tower.schema().unwrap()).await.unwrap();
    let tower = tower.open(Resources::new(store)).unwrap();
    for number in 1..=3 {
        for bell in ["high", "damaged", "low"] {
            tower.send(Strike { bell: bell.to_owned(), number }).await.unwrap();
        }
    }
    let town: Arc<dyn Store> = database.open(&town().schema().unwrap()).await.unwrap();
    for unit in [parked(1, "parked damaged"), parked(2, "parked"), strange_bell()] {
        town.commit(unit).await.unwrap();
    }
    database.close().await;
}

/// The names of the tables of records, stalled records and parked messages.
struct Tables {
    outbox: &'static str,
    stalled: &'static str,
    parked: &'static str,
}

impl Tables {
    /// Makes a record and a parked message unreadable.
    fn damage(&self) -> String {
        let Self { outbox, parked, .. } = self;
        format!(
            "UPDATE {outbox} SET metadata = 'damaged:' || metadata
             WHERE sequence = (SELECT min(sequence) FROM {outbox} WHERE key = 'damaged');
             UPDATE {parked} SET metadata = 'damaged:' || metadata, due = 0
             WHERE lane LIKE '%damaged%';"
        )
    }

    /// Makes them readable again and due. The record is stalled meanwhile.
    fn repair(&self) -> String {
        let Self { stalled, parked, .. } = self;
        format!(
            "UPDATE {stalled} SET metadata = substr(metadata, 9), due = 0;
             UPDATE {parked} SET metadata = substr(metadata, 9), due = 0
             WHERE lane LIKE '%damaged%';"
        )
    }
}

async fn start(url: &str) -> RunningService {
    let settings = Settings::default().with_poll(Duration::from_millis(50));
    let service = Service::new(settings).transport_url("memory:").store_url(url);
    service.host(tower()).host(town()).start().await.unwrap()
}

async fn until_heard(service: &RunningService, expected: &[(&str, &[i64])]) {
    let expected: Vec<_> =
        expected.iter().map(|(bell, numbers)| ((*bell).to_owned(), numbers.to_vec())).collect();
    until("what can be read is heard, in order", PATIENCE, async || {
        service.query(Heard).await.unwrap().0 == expected
    })
    .await;
}

/// All but the damaged rows goes out. They stay and are named once, until they can be read.
async fn everything_else_goes_out<R: Future<Output = ()>>(
    database: Arc<dyn Database>,
    url: &str,
    tables: Tables,
    run: impl Fn(String) -> R,
) {
    plant(&*database).await;
    run(tables.damage()).await;
    let logs = Logs::default();
    let guard = logs.begin();
    let service = start(url).await;
    let all: &[(&str, &[i64])] = &[("high", &[1, 2, 3]), ("low", &[1, 2, 3]), ("parked", &[2])];
    until_heard(&service, all).await;
    // Each message needs reads of the outbox, which meet the damaged row again.
    for number in 4..=6 {
        service.send(Strike { bell: "high".to_owned(), number }).await.unwrap();
        let high: Vec<_> = (1..=number).collect();
        until_heard(&service, &[("high", &high), all[1], all[2]]).await;
    }
    until("what was published is deleted", PATIENCE, async || {
        service.totals().await.unwrap().waiting == 3
    })
    .await;
    let totals = service.totals().await.unwrap();
    assert_eq!((totals.parked, totals.dead_letters), (1, 0), "{totals:?}");
    assert_eq!((totals.stalled, totals.waiting_unreadable), (1, 3), "{totals:?}");
    assert_eq!(totals.unreadable, 3, "a record, a parked message and a document: {totals:?}");
    assert_eq!(service.query(Heard).await.unwrap().1, 1);
    for (words, place) in [
        ("of the outbox cannot be read", "context=\"tower\" sequence="),
        ("a parked message cannot be read", "context=town"),
        ("a document cannot be read", "context=town collection=\"bells\" id=strange"),
    ] {
        let lines = logs.lines(words);
        assert!(lines.len() == 1 && lines[0].contains(place), "{words}: {lines:?}");
    }
    service.shutdown().await.unwrap();
    drop(guard);

    run(tables.repair()).await;
    let service = start(url).await;
    until_heard(
        &service,
        &[
            ("damaged", &[1, 2, 3]),
            ("high", &[1, 2, 3, 4, 5, 6]),
            ("low", &[1, 2, 3]),
            ("parked", &[2]),
            ("parked damaged", &[1]),
        ],
    )
    .await;
    let totals = service.totals().await.unwrap();
    assert_eq!((totals.parked, totals.unreadable), (0, 1), "{totals:?}");
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn on_sqlite_everything_else_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bells.db").to_str().unwrap().to_owned();
    let database = SqliteDatabase::open(&path, SqliteOptions::default()).await.unwrap();
    let file = SqliteConnectOptions::new().filename(&path);
    let url = format!("sqlite:{path}");
    everything_else_goes_out(
        Arc::new(database),
        &url,
        Tables { outbox: "mamey_outbox", stalled: "mamey_stalled", parked: "mamey_parked" },
        async |sql| {
            let mut connection = file.connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn on_postgres_everything_else_goes_out() {
    let server = require!(postgres::database().await);
    let database = PostgresDatabase::connect(server.url(), PostgresOptions::default()).await;
    everything_else_goes_out(
        Arc::new(database.unwrap()),
        server.url(),
        Tables { outbox: "tower._outbox", stalled: "tower._stalled", parked: "town._parked" },
        async |sql| {
            for statement in sql.split_inclusive(';') {
                Session::of(server.url()).await.run(statement).await;
            }
        },
    )
    .await;
}
