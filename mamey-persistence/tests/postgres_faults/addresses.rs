//! Where the servers are and who connects, as clouds and orchestrators say it.

use std::time::{Duration, Instant};

use mamey_core::ErrorKind;
use mamey_core::connection::{ConnectionUrl, Credentials};
use mamey_core::store::CommitOutcome;
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::{FaultProxy, Mode, OwnPostgres, Session, postgres, require, until};

use super::support::{PATIENCE, connect, open, sends, with};

/// The authority and the path of a URL: `login`, `host:port`, `database`.
fn parts(url: &str) -> (&str, &str, &str) {
    let (login, rest) = url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
    let (host, database) = rest.split_once('/').unwrap();
    (login, host, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_the_one_that_takes_writes_is_used() {
    let test = require!(postgres::database().await);
    let replica = require!(test.replica_url());
    let ((login, primary, name), (_, replica, _)) = (parts(test.url()), parts(&replica));
    for hosts in [
        format!("{replica},{primary}"),
        format!("{primary},{replica}"),
        // Nobody listens at the first.
        format!("127.0.0.1:1,{replica},{primary}"),
    ] {
        let database = connect(&format!("postgres://{login}@{hosts}/{name}")).await.unwrap();
        let store = open(&database, "bank").await;
        assert!(matches!(store.commit(sends(1)).await.unwrap(), CommitOutcome::Committed(_)));
    }
    let alone = format!("postgres://{login}@{replica}/{name}?target_session_attrs=read-write");
    let error = connect(&alone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("standby"), "{error}");
}

/// What a switch looks like: the old primary still answers and refuses writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_switch_writes_find_the_new_primary_within_seconds() {
    let old = require!(OwnPostgres::start().await);
    let new = require!(OwnPostgres::start().await);
    let (old_url, new_url) = (old.url(), new.url());
    let ((login, one, name), (_, two, _)) = (parts(&old_url), parts(&new_url));
    open(&connect(&new_url).await.unwrap(), "bank").await;
    let database = connect(&format!("postgres://{login}@{one},{two}/{name}")).await.unwrap();
    let store = open(&database, "bank").await;
    store.commit(sends(1)).await.unwrap();

    let mut admin = Session::of(&old_url).await;
    admin.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
    admin.run("SELECT pg_reload_conf()").await;
    let began = Instant::now();
    let refused = async || store.commit(sends(2)).await.is_err();
    until("the old primary refuses", PATIENCE, refused).await;
    until("the new one is found", PATIENCE, async || store.commit(sends(3)).await.is_ok()).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut there = Session::of(&new_url).await;
    let sent: i64 = there.one("SELECT count(*) FROM bank._outbox").await;
    assert!(sent >= 1, "it was written to the new primary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_needs_no_restart() {
    let server = require!(OwnPostgres::start().await);
    let mut admin = Session::of(&server.url()).await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let url = proxy.url_for(&server.url()).unwrap();
    let (login, host, name) = parts(&url);
    let (user, password) = login.split_once(':').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (secret, whole) = (folder.path().join("password"), folder.path().join("url"));
    let write = |password: &str| {
        std::fs::write(&secret, format!("{password}\n")).unwrap();
        std::fs::write(&whole, format!("postgres://{user}:{password}@{host}/{name}\n")).unwrap();
    };
    write(password);
    let plain = format!("postgres://{user}@{host}/{name}");
    let by_file = connect(&with(&plain, &format!("password_file={}", secret.display()))).await;
    let url = ConnectionUrl::from_file(&whole).unwrap();
    let by_url = PostgresDatabase::connect(url, PostgresOptions::default()).await;
    let path = secret.clone();
    let ask = move || {
        let read = std::fs::read_to_string(&path).map(|text| text.trim().to_owned());
        async { Ok(Credentials::password(read.expect("the test wrote it"))) }
    };
    let options = PostgresOptions::default().with_credentials(ask);
    let by_code = PostgresDatabase::connect(plain.as_str(), options).await;
    let mut stores = Vec::new();
    for (at, database) in [by_file, by_url, by_code].into_iter().enumerate() {
        stores.push(open(&database.unwrap(), &format!("bank{at}")).await);
    }

    admin.run(&format!("ALTER ROLE {user} PASSWORD 'rotated'")).await;
    proxy.set(Mode::Reset).await.unwrap();
    proxy.set(Mode::Forward).await.unwrap();
    for store in &stores {
        let refused = async || matches!(store.ping().await, Err(error) if error.kind() == ErrorKind::Misconfigured);
        until("the old password is refused", PATIENCE, refused).await;
    }
    write("rotated");
    for store in &stores {
        store.ping().await.unwrap();
    }
}

/// A firewall that forgets idle connections lets nothing through and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_a_firewall_forgot_cost_one_probe() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let url = with(&proxy.url_for(test.url()).unwrap(), "listen=false");
    let store = open(&connect(&url).await.unwrap(), "bank").await;
    // Several connections become idle.
    let pings = (0..8).map(|_| store.ping());
    futures_util::future::try_join_all(pings).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    proxy.set(Mode::Forget).await.unwrap();
    let began = Instant::now();
    store.ping().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
