//! Redis: prefixes come and go, the password is asked for, and writes go to a file.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use mamey_test_support::{Error, FaultProxy, Mode, redis as support, require, servers};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd};
use tokio::time::timeout;

const QUIET: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(10);

/// The driver's own limits are short, and fail where a busy machine is only slow.
fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(SOON)).set_response_timeout(Some(SOON))
}

async fn connect(url: &str) -> MultiplexedConnection {
    let client = Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
}

async fn set(session: &mut MultiplexedConnection, key: &str, value: &str) {
    cmd("SET").arg(key).arg(value).query_async::<()>(session).await.unwrap();
}

async fn get(session: &mut MultiplexedConnection, key: &str) -> Option<String> {
    cmd("GET").arg(key).query_async(session).await.unwrap()
}

async fn keys_of(session: &mut MultiplexedConnection, prefix: &str) -> Vec<String> {
    cmd("KEYS").arg(format!("{prefix}*")).query_async(session).await.unwrap()
}

#[tokio::test]
async fn the_keys_of_a_prefix_are_deleted_with_its_guard() {
    let prefix = require!(support::prefix().await);
    let mut session = connect(prefix.url()).await;
    // More than one round of a scan, and keys of every shape.
    for i in 0..2500 {
        set(&mut session, &prefix.key(&format!("order*[{i}]")), "x").await;
    }
    let text = prefix.as_str().to_owned();
    assert_eq!(keys_of(&mut session, &text).await.len(), 2500);
    drop(prefix);
    assert_eq!(keys_of(&mut session, &text).await, [""; 0]);
    let name = text.trim_end_matches(':');
    let known: bool = cmd("SISMEMBER")
        .arg("mamey_test_prefixes")
        .arg(name)
        .query_async(&mut session)
        .await
        .unwrap();
    assert!(!known);
}

#[tokio::test]
async fn parallel_prefixes_do_not_see_each_other() {
    let (one, other) = tokio::join!(support::prefix(), support::prefix());
    let (one, other) = (require!(one), require!(other));
    let mut session = connect(one.url()).await;
    set(&mut session, &one.key("order"), "one").await;
    assert_eq!(get(&mut session, &other.key("order")).await, None);
    set(&mut session, &other.key("order"), "other").await;
    drop(one);
    assert_eq!(get(&mut session, &other.key("order")).await.as_deref(), Some("other"));
}

#[tokio::test]
async fn the_server_asks_for_its_password_and_keeps_an_append_only_file() {
    let prefix = require!(support::prefix().await);
    let (before, host) = prefix.url().rsplit_once('@').unwrap();
    assert!(before.len() > "redis://".len());
    let without = Client::open(format!("redis://{host}")).unwrap();
    let mut session =
        without.get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let refused =
        cmd("GET").arg("x").query_async::<Option<String>>(&mut session).await.unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"), "{refused}");

    let mut session = connect(prefix.url()).await;
    let persistence: String =
        cmd("INFO").arg("persistence").query_async(&mut session).await.unwrap();
    assert!(persistence.contains("aof_enabled:1"), "{persistence}");
}

#[tokio::test]
async fn commands_sent_together_are_one_round_trip() {
    let prefix = require!(support::prefix().await);
    let proxy = FaultProxy::start(prefix.url()).await.unwrap();
    let mut session = connect(&proxy.url_for(prefix.url()).unwrap()).await;
    let before = proxy.counts();
    let mut pipeline = redis::pipe();
    for i in 0..10 {
        pipeline.cmd("SET").arg(prefix.key(&i.to_string())).arg(i).ignore();
    }
    pipeline.query_async::<()>(&mut session).await.unwrap();
    assert_eq!((proxy.counts() - before).round_trips, 1);
}

#[tokio::test]
async fn a_reset_is_the_clients_error() {
    let prefix = require!(support::prefix().await);
    let proxy = FaultProxy::start(prefix.url()).await.unwrap();
    let url = proxy.url_for(prefix.url()).unwrap();
    let mut session = connect(&url).await;
    set(&mut session, &prefix.key("order"), "one").await;
    proxy.set(Mode::Reset).await.unwrap();
    let outcome = cmd("PING").query_async::<String>(&mut session).await;
    assert!(outcome.unwrap_err().is_connection_dropped());
    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(get(&mut connect(&url).await, &prefix.key("order")).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_paused_server_answers_when_it_goes_on() {
    let prefix = require!(support::prefix().await);
    let mut session = connect(prefix.url()).await;
    let paused = require!(servers::pause(prefix.url()));
    let key = prefix.key("order");
    let reply = get(&mut session, &key);
    tokio::pin!(reply);
    assert!(timeout(QUIET, &mut reply).await.is_err());
    drop(paused);
    assert_eq!(timeout(SOON, reply).await.unwrap(), None);
}

#[test]
fn a_server_that_is_not_ours_is_not_paused() {
    let error = servers::pause("redis://127.0.0.1:1/0").unwrap_err();
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");
}
