//! Messages that cannot be published are given up by policy: listed, replayed and discarded, while all
//! others go out.
#![cfg(all(feature = "postgres", feature = "rabbitmq", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::messaging::MemoryTransport;
use mamey::store::{UndeliveredMessage, UndeliveredReason};
use mamey::{
    BoundedContext, Command, Context, Event, Message, MessageHandler, Result, RunningService,
    Service, Settings,
};
use mamey_test_support::servers::own;
use mamey_test_support::{postgres, rabbitmq, require, until};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tracing_subscriber::filter::LevelFilter;

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a message without a route is tried here.
const UNROUTABLE: Duration = Duration::from_millis(1500);

/// A longer one than the broker takes here, and one that it does.
const TOO_LONG: usize = 200_000;
const LONG: usize = 1000;

/// What the broker takes.
const BROKER_MAX: usize = 100_000;

/// What the desk of this name has got, in that order.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<(String, i64)>>>);

/// Sends tasks to a context.
#[derive(Clone, Command)]
struct HandOut {
    target: &'static str,
    key: String,
    number: i64,
}

/// Publishes events: of some bytes, and one whose name is too long for the broker.
#[derive(Clone, Command)]
struct Announce {
    number: i64,
    bytes: usize,
}

#[derive(Clone, Command)]
struct AnnounceAtLength;

#[derive(Message, Serialize, Deserialize)]
#[message(name = "office.task", key = key)]
struct Task {
    key: String,
    number: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "office.announced", key = number)]
struct Announced {
    number: i64,
    text: String,
}

/// With the target and the slot, the routing key has more than 255 bytes.
#[derive(Event, Serialize, Deserialize)]
#[event(
    name = "office.a-name-of-two-hundred-and-fifty-bytes-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)]
struct AnnouncedAtLength;

async fn hand_out(command: HandOut, cx: &Context) -> Result<()> {
    cx.send(command.target, &Task { key: command.key, number: command.number })
}

async fn announce(command: Announce, cx: &Context) -> Result<()> {
    cx.publish(&Announced { number: command.number, text: "a".repeat(command.bytes) })
}

async fn announce_at_length(_: AnnounceAtLength, cx: &Context) -> Result<()> {
    cx.publish(&AnnouncedAtLength)
}

impl MessageHandler<Task> for Desk {
    async fn handle(&self, task: Task, _: &Context) -> Result<()> {
        self.0.lock().unwrap().push((task.key, task.number));
        Ok(())
    }
}

impl MessageHandler<Announced> for Desk {
    async fn handle(&self, event: Announced, _: &Context) -> Result<()> {
        self.0.lock().unwrap().push((String::new(), event.number));
        Ok(())
    }
}

impl Desk {
    fn numbers(&self, key: &str) -> Vec<i64> {
        let got = self.0.lock().unwrap();
        got.iter().filter(|(of, _)| of == key).map(|(_, number)| *number).collect()
    }
}

fn office() -> BoundedContext {
    BoundedContext::new("office")
        .command(hand_out)
        .command(announce)
        .command(announce_at_length)
        .publishes::<Announced>()
        .publishes::<AnnouncedAtLength>()
}

fn desk(name: &str, desk: &Desk) -> BoundedContext {
    BoundedContext::new(name).on::<Task, _>(desk.clone()).on::<Announced, _>(desk.clone())
}

fn settings() -> Settings {
    Settings::default().with_poll(Duration::from_millis(50)).with_unroutable(UNROUTABLE)
}

async fn listed(service: &RunningService) -> Vec<UndeliveredMessage> {
    service.undelivered("office").unwrap().undelivered(None, 100).await.unwrap()
}

async fn hand(service: &RunningService, target: &'static str, key: &str, number: i64) {
    service.send(HandOut { target, key: key.to_owned(), number }).await.unwrap();
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

    fn count(&self, words: &str) -> usize {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains(words)).count()
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

/// Messages for a context that is nowhere are tried for a while and then given up, while other keys flow;
/// then their own keys go on without them. Once the context is there, they are replayed.
async fn what_has_no_route_is_given_up_and_replayed(service: impl Fn() -> Service) {
    let (logs, present, absent) = (Logs::default(), Desk::default(), Desk::default());
    let guard = logs.begin();
    let running = service().host(office()).host(desk("present", &present)).start().await.unwrap();
    for key in ["a", "b"] {
        hand(&running, "absent", key, 1).await;
        hand(&running, "present", key, 2).await;
    }
    hand(&running, "present", "c", 3).await;
    until("another key flows", PATIENCE, async || present.numbers("c") == [3]).await;
    let early = running.totals().await.unwrap();
    assert_eq!(early.undelivered, 0, "not before its time: {early:?}");
    assert!(present.numbers("a").is_empty(), "it waits behind an earlier one of its key");
    until("their keys go on", PATIENCE, async || {
        present.numbers("a") == [2] && present.numbers("b") == [2]
    })
    .await;
    running.wait_until_idle().await.unwrap();
    let totals = running.totals().await.unwrap();
    assert_eq!((totals.waiting, totals.stalled, totals.undelivered), (0, 0, 2), "{totals:?}");
    assert_eq!(totals.published, 3, "what was given up was not published: {totals:?}");
    let given_up = listed(&running).await;
    for message in &given_up {
        assert_eq!(message.reason, UndeliveredReason::Unroutable);
        assert!(message.attempts >= 3, "{message:?}");
        assert!(message.failure.message.contains("`absent`"), "{message:?}");
        assert!(message.last_failed.duration_since(message.first_failed) > UNROUTABLE / 2);
    }
    assert_eq!(logs.count("given up before it was published"), 1, "one line for one name");
    drop(guard);
    running.shutdown().await.unwrap();

    let contexts = [office(), desk("present", &present), desk("absent", &absent)];
    let running = contexts.into_iter().fold(service(), Service::host).start().await.unwrap();
    let undelivered = running.undelivered("office").unwrap();
    let ids: Vec<_> = given_up.iter().map(|message| message.id).collect();
    assert_eq!(undelivered.replay_undelivered(&ids[..1]).await.unwrap(), 1);
    assert_eq!(undelivered.discard_undelivered(&ids).await.unwrap(), 1);
    let key = given_up[0].envelope.metadata.key.clone().unwrap();
    until("it is handled", PATIENCE, async || absent.numbers(key.as_str()) == [1]).await;
    running.wait_until_idle().await.unwrap();
    assert_eq!(running.totals().await.unwrap().undelivered, 0);
    assert_eq!(absent.0.lock().unwrap().len(), 1, "what was discarded is gone");
    running.shutdown().await.unwrap();
}

#[tokio::test]
async fn on_sqlite_what_has_no_route_is_given_up_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("office.db").display());
    what_has_no_route_is_given_up_and_replayed(|| {
        Service::new(settings()).store_url(&url).transport(MemoryTransport::new())
    })
    .await;
}

#[tokio::test]
async fn over_rabbitmq_what_has_no_route_is_given_up_and_replayed() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    what_has_no_route_is_given_up_and_replayed(|| {
        Service::new(settings()).store_url(database.url()).transport_url(vhost.url())
    })
    .await;
}

/// What the broker can never take is given up at once and alone: the messages beside it on its channel
/// and behind it in its key go out. Once the broker takes it, it is replayed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_refuses_is_given_up_at_once_and_alone() {
    let servers = own("rabbitmq-undelivered", "rabbitmq");
    let set = |bytes: usize| {
        let expression = format!("application:set_env(rabbit, max_message_size, {bytes}).");
        servers.rabbitmqctl("rabbitmq", &["eval", &expression]);
    };
    set(BROKER_MAX);
    let desk_of_all = Desk::default();
    let broker = servers.url("MAMEY_TEST_RABBITMQ_URL");
    // It is tried for far longer than this test takes, so only what is final is given up.
    let settings = settings().with_unroutable(Duration::from_hours(24));
    let start = || {
        let service = Service::new(settings.clone()).store_url("memory:").transport_url(&broker);
        service.host(office()).host(desk("reader", &desk_of_all)).start()
    };
    let running = start().await.unwrap();
    for number in 0..200 {
        running.send(Announce { number, bytes: LONG }).await.unwrap();
        if number == 100 {
            running.send(AnnounceAtLength).await.unwrap();
            running.send(Announce { number: 7, bytes: TOO_LONG }).await.unwrap();
            running.send(Announce { number: 7, bytes: LONG }).await.unwrap();
        }
    }
    let mut expected: Vec<i64> = (0..200).chain([7]).collect();
    expected.sort_unstable();
    let got = || {
        let mut numbers = desk_of_all.numbers("");
        numbers.sort_unstable();
        numbers
    };
    until("all others are handled once", PATIENCE, async || got() == expected).await;
    until("both are given up", PATIENCE, async || listed(&running).await.len() == 2).await;
    running.wait_until_idle().await.unwrap();
    let given_up = listed(&running).await;
    for (words, message) in ["routing key", "max_message_size"].iter().map(|words| {
        let holds = |it: &&UndeliveredMessage| it.failure.message.contains(words);
        (words, given_up.iter().find(holds).unwrap_or_else(|| panic!("{words}: {given_up:?}")))
    }) {
        assert_eq!((message.reason, message.attempts), (UndeliveredReason::Refused, 1), "{words}");
    }
    // A channel knows the limit of the time when it was opened.
    let too_long = given_up.iter().find(|it| it.failure.message.contains("max_message_size"));
    set(134_217_728);
    let undelivered = running.undelivered("office").unwrap();
    until("a new channel takes it", PATIENCE, async || {
        let Some(message) = listed(&running)
            .await
            .into_iter()
            .find(|it| it.envelope.metadata.id == too_long.unwrap().envelope.metadata.id)
        else {
            return got().len() == 202;
        };
        undelivered.replay_undelivered(&[message.id]).await.unwrap();
        false
    })
    .await;
    assert_eq!(got().iter().filter(|number| **number == 7).count(), 3);
    running.shutdown().await.unwrap();
}

/// A record that cannot be read is given up in the end: its key goes on, and it is listed as what it is.
/// Nobody who waits for the service to be idle waits for it.
#[tokio::test]
async fn what_cannot_be_read_is_given_up_in_the_end_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("office.db");
    let url = format!("sqlite:{}", path.display());
    let service =
        |settings| Service::new(settings).store_url(&url).transport(MemoryTransport::new());
    let patient = settings().with_unroutable(Duration::from_hours(24));
    let present = Desk::default();
    let running = service(patient.clone()).host(office()).start().await.unwrap();
    hand(&running, "present", "a", 1).await;
    hand(&running, "present", "a", 2).await;
    running.shutdown().await.unwrap();
    let mut file = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for table in ["outbox", "stalled"] {
        let damage = format!(
            "UPDATE mamey_{table} SET metadata = 'damaged:' || metadata
             WHERE metadata LIKE '%office.task%' AND payload LIKE '%\"number\":1%'"
        );
        sqlx::raw_sql(AssertSqlSafe(damage)).execute(&mut file).await.unwrap();
    }
    drop(file);
    let start = async |settings| {
        service(settings).host(office()).host(desk("present", &present)).start().await.unwrap()
    };
    let running = start(patient).await;
    until("it is found", PATIENCE, async || running.totals().await.unwrap().stalled == 1).await;
    hand(&running, "present", "b", 3).await;
    tokio::time::timeout(PATIENCE, running.wait_until_idle()).await.unwrap().unwrap();
    let totals = running.totals().await.unwrap();
    assert_eq!((totals.waiting, totals.waiting_unreadable), (2, 2), "{totals:?}");
    assert_eq!((present.numbers("b"), present.numbers("a")), (vec![3], vec![]));
    running.shutdown().await.unwrap();

    let running = start(settings()).await;
    until("its key goes on", PATIENCE, async || present.numbers("a") == [2]).await;
    tokio::time::timeout(PATIENCE, running.wait_until_idle()).await.unwrap().unwrap();
    let given_up = listed(&running).await;
    let [message] = &*given_up else { panic!("{given_up:?}") };
    assert_eq!(message.reason, UndeliveredReason::Unreadable);
    assert!(message.unreadable.is_some() && message.failure.is_unreadable(), "{message:?}");
    assert_eq!(running.totals().await.unwrap().waiting, 0);
    running.shutdown().await.unwrap();
}
