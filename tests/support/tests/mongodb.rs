//! MongoDB: databases come and go, transactions and change streams work for a user with a password.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use futures_util::StreamExt;
use mamey_test_support::{FaultProxy, Mode, mongodb as support, require};
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection};
use tokio::time::timeout;

const QUIET: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(10);

async fn connect(url: &str) -> Client {
    Client::with_uri_str(url).await.unwrap()
}

fn orders(client: &Client) -> Collection<Document> {
    client.default_database().unwrap().collection("orders")
}

async fn exists(name: &str) -> bool {
    let client = connect(&std::env::var("MAMEY_TEST_MONGODB_URL").unwrap()).await;
    client.list_database_names().await.unwrap().iter().any(|found| found == name)
}

async fn count(client: &Client) -> u64 {
    orders(client).count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn a_database_is_there_until_its_guard_is_dropped() {
    let database = require!(support::database().await);
    let name = database.name().to_owned();
    let client = connect(database.url()).await;
    orders(&client).insert_one(doc! { "_id": 1 }).await.unwrap();
    assert!(exists(&name).await);
    drop(database);
    assert!(!exists(&name).await);
}

#[tokio::test]
async fn an_open_transaction_does_not_keep_a_database() {
    let database = require!(support::database().await);
    let name = database.name().to_owned();
    let client = connect(database.url()).await;
    orders(&client).insert_one(doc! { "_id": 1 }).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    orders(&client).insert_one(doc! { "_id": 2 }).session(&mut session).await.unwrap();
    drop(database);
    assert!(!exists(&name).await);
    assert!(session.commit_transaction().await.is_err());
}

#[tokio::test]
async fn parallel_databases_do_not_see_each_other() {
    let (one, other) = tokio::join!(support::database(), support::database());
    let (one, other) = (require!(one), require!(other));
    let (one, other) = (connect(one.url()).await, connect(other.url()).await);
    orders(&one).insert_one(doc! { "_id": 1 }).await.unwrap();
    assert_eq!((count(&one).await, count(&other).await), (1, 0));
}

#[tokio::test]
async fn a_transaction_takes_effect_whole_or_not_at_all() {
    let database = require!(support::database().await);
    let client = connect(database.url()).await;
    let orders = orders(&client);
    let mut session = client.start_session().await.unwrap();
    for commits in [false, true] {
        session.start_transaction().await.unwrap();
        for id in [1, 2] {
            orders.insert_one(doc! { "_id": id }).session(&mut session).await.unwrap();
        }
        assert_eq!(count(&client).await, 0);
        match commits {
            true => session.commit_transaction().await.unwrap(),
            false => session.abort_transaction().await.unwrap(),
        }
    }
    assert_eq!(count(&client).await, 2);
}

#[tokio::test]
async fn a_change_stream_sees_what_is_written() {
    let database = require!(support::database().await);
    let client = connect(database.url()).await;
    let orders = orders(&client);
    let mut changes = orders.watch().await.unwrap();
    orders.insert_one(doc! { "_id": 7 }).await.unwrap();
    let change = timeout(SOON, changes.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(change.full_document, Some(doc! { "_id": 7 }));
}

#[tokio::test]
async fn the_server_asks_for_its_password() {
    let database = require!(support::database().await);
    let mut options = ClientOptions::parse(database.url()).await.unwrap();
    assert!(options.credential.take().is_some());
    let stranger = Client::with_options(options).unwrap();
    let refused = orders(&stranger).insert_one(doc! { "_id": 1 }).await.unwrap_err();
    assert!(refused.to_string().contains("requires authentication"), "{refused}");
}

#[tokio::test]
async fn the_proxy_stands_between_driver_and_server() {
    let database = require!(support::database().await);
    let proxy = FaultProxy::start(database.url()).await.unwrap();
    let client = connect(&proxy.url_for(database.url()).unwrap()).await;
    let orders = orders(&client);
    orders.insert_one(doc! { "_id": 1 }).await.unwrap();

    proxy.set(Mode::Silent).await.unwrap();
    let mut written = tokio::spawn(async move { orders.insert_one(doc! { "_id": 2 }).await });
    assert!(timeout(QUIET, &mut written).await.is_err());
    proxy.set(Mode::Forward).await.unwrap();
    timeout(SOON, written).await.unwrap().unwrap().unwrap();
    assert_eq!(count(&client).await, 2);
}
