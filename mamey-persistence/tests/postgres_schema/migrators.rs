//! Instances that migrate together, newer builds beside older ones, interrupted starts, and roles that
//! may not migrate.

use std::time::Duration;

use futures_util::future::join_all;
use mamey_core::ErrorKind;
use mamey_core::criteria::{Collection, Comparison, Filter, Index, Value, ValueType};
use mamey_core::store::{Database, Expected};
use mamey_test_support::{Direction, FaultProxy, Mode, Session, postgres, require, until};
use tokio::time::sleep;

use super::support::{Admin, connect, open, put, schema_of, try_connect, unit};

static PLAIN: Collection = Collection::new("orders", ValueType::Int);

static LABELLED: Collection =
    Collection::new("orders", ValueType::Int).with_indexes(&[Index::new("label", ValueType::Text)]);

/// What the catalogue says of a schema, to compare two.
const SHAPE: &str = "\
SELECT string_agg(part, E'\\n' ORDER BY part) FROM (
    SELECT format('%s %s %s', relname, attname, format_type(atttypid, atttypmod)) AS part
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'mamey.'::text::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT format('%s %s', proname, md5(prosrc)) FROM pg_proc
    WHERE pronamespace = 'mamey.'::text::regnamespace
    UNION ALL
    SELECT format('%s %s', indexrelid::regclass, indisvalid) FROM pg_index
    JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = 'mamey.'::text::regnamespace
    UNION ALL
    SELECT format('%s %s %s', collection, field, state) FROM mamey._indexes
    UNION ALL
    SELECT format('%s %s', number, checksum) FROM mamey._migrations) AS parts";

async fn shape(url: &str) -> String {
    let sql = SHAPE.replace("'mamey.'::text::regnamespace", "'\"pg-shop\"'::regnamespace");
    Admin::of(url).await.one(&sql).await
}

fn label_is(label: &str) -> Filter {
    let value = Value::Text(label.to_owned());
    Filter::Compare { field: "label", comparison: Comparison::Equal, value }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_together_add_one_index_together() {
    let test = require!(postgres::database().await);
    let before = open(&connect(test.url()).await, &[&PLAIN]).await.unwrap();
    for id in 0..600 {
        let write = put(&PLAIN, id, Expected::Absent, r#"{"label":"a"}"#.to_owned(), Vec::new());
        before.commit(unit(write)).await.unwrap();
    }
    let databases = join_all((0..4).map(|_| connect(test.url()))).await;
    let start = async |database| open(database, &[&LABELLED]).await;
    let stores = join_all(databases.iter().map(start)).await;
    for store in stores {
        assert_eq!(store.unwrap().count(&LABELLED, &label_is("a")).await.unwrap(), 600);
    }
}

/// A concurrent index waits for every transaction that was active at the wrong moment, so a start that
/// waited for the index within a transaction might wait forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_an_index_of_another_instance_holds_no_transaction() {
    let test = require!(postgres::database().await);
    let before = connect(test.url()).await;
    let store = open(&before, &[&PLAIN]).await.unwrap();
    let write = put(&PLAIN, 1, Expected::Absent, r#"{"label":"a"}"#.to_owned(), Vec::new());
    store.commit(unit(write)).await.unwrap();
    before.close().await;
    // The index waits for this transaction too.
    let mut reader = Admin::of(test.url()).await;
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
    let starts = [connect(test.url()).await, connect(test.url()).await]
        .map(|database| tokio::spawn(async move { open(&database, &[&LABELLED]).await.map(drop) }));
    // One has a connection, a lock and a worker, which waits; the other has a connection and a lock.
    let mut admin = Admin::of(test.url()).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name = 'mamey'";
    let both = async || admin.one::<i64>(sessions).await == 5;
    until("both are there", Duration::from_secs(60), both).await;
    Session::of(test.url()).await.until_waiting(1).await;
    let in_transaction = format!("{sessions} AND state = 'idle in transaction'");
    let mut seen = Vec::new();
    for _ in 0..50 {
        seen.push(admin.one::<i64>(&in_transaction).await);
        sleep(Duration::from_millis(50)).await;
    }
    reader.run("COMMIT").await;
    for start in starts {
        start.await.unwrap().unwrap();
    }
    // Sometimes the other is seen in the middle of a try.
    assert!(seen.iter().filter(|count| **count == 1).count() > seen.len() / 2, "{seen:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_only_when_it_says_so() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    open(&database, &[&PLAIN]).await.unwrap();
    let mut admin = Admin::of(test.url()).await;
    let newer = |from: i64| {
        format!(
            "INSERT INTO mamey._migrations (number, name, checksum, compatible_from)
             VALUES ({}, 'newer', 'x', {from})",
            1000 + from
        )
    };
    admin.run(&newer(1)).await;
    open(&database, &[&PLAIN]).await.unwrap();
    admin.run(&newer(1000)).await;
    let error = open(&database, &[&PLAIN]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("newer"), "{error}");
}

/// The connection is cut later each time, until a start succeeds; each start continues the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_interrupted_anywhere_is_continued_by_the_next() {
    let (whole, test) =
        (require!(postgres::database().await), require!(postgres::database().await));
    for url in [whole.url(), test.url()] {
        let store = open(&connect(url).await, &[&PLAIN]).await.unwrap();
        for id in 0..1200 {
            let data = format!(r#"{{"label":"label-{}"}}"#, id % 3);
            store.commit(unit(put(&PLAIN, id, Expected::Absent, data, Vec::new()))).await.unwrap();
        }
    }
    open(&connect(whole.url()).await, &[&LABELLED]).await.unwrap();
    let mut cuts = 0;
    for bytes in (200..).step_by(150) {
        let proxy = FaultProxy::start(test.url()).await.unwrap();
        proxy.set(Mode::CutAfter { direction: Direction::ToServer, bytes }).await.unwrap();
        let opened = match try_connect(&proxy.url_for(test.url()).unwrap()).await {
            Ok(database) => open(&database, &[&LABELLED]).await.map(drop),
            Err(error) => Err(error),
        };
        match opened {
            Ok(()) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
        cuts += 1;
    }
    assert!(cuts > 10, "only {cuts} starts were interrupted");
    assert_eq!(shape(test.url()).await, shape(whole.url()).await);
    let store = open(&connect(test.url()).await, &[&LABELLED]).await.unwrap();
    assert_eq!(store.count(&LABELLED, &label_is("label-1")).await.unwrap(), 400);
}

#[tokio::test]
async fn a_role_without_rights_gets_the_sql_and_then_needs_no_right_to_change_the_schema() {
    let test = require!(postgres::database().await);
    let role = test.name().replace("mamey_test", "mamey_test_role");
    let mut admin = Admin::of(test.url()).await;
    admin.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'loopback'")).await;
    let (_, place) = test.url().rsplit_once('@').unwrap();
    let url = format!("postgres://{role}:loopback@{place}");
    let result = tokio::spawn(use_without_rights(test.url().to_owned(), url, role.clone())).await;
    admin.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    result.unwrap();
}

async fn use_without_rights(owner: String, url: String, role: String) {
    let database = connect(&url).await;
    let error = open(&database, &[&LABELLED]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    for named in [role.as_str(), "\"pg-shop\"", "migration_sql"] {
        assert!(error.to_string().contains(named), "`{error}` names {named}");
    }
    let mut admin = Admin::of(&owner).await;
    let grants = format!(
        "GRANT USAGE ON SCHEMA \"pg-shop\" TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"pg-shop\" TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA \"pg-shop\" TO {role};
         GRANT EXECUTE ON ALL ROUTINES IN SCHEMA \"pg-shop\" TO {role};"
    );
    admin.run(&database.migration_sql(&schema_of(&[&PLAIN])).await.unwrap()).await;
    admin.run(&grants).await;
    let store = open(&database, &[&PLAIN]).await.unwrap();
    let write = put(&PLAIN, 1, Expected::Absent, r#"{"label":"a"}"#.to_owned(), Vec::new());
    store.commit(unit(write)).await.unwrap();
    let error = open(&database, &[&LABELLED]).await.err().unwrap();
    assert!(error.to_string().contains("migration_sql"), "{error}");
    // As psql runs it: each statement outside of the transaction is sent alone.
    let sql = database.migration_sql(&schema_of(&[&LABELLED])).await.unwrap();
    let (at_once, after) = sql.split_once("\nCOMMIT;\n").unwrap();
    admin.run(&format!("{at_once}\nCOMMIT;")).await;
    for statement in after.split(";\n") {
        admin.run(statement).await;
    }
    assert_eq!(database.migration_sql(&schema_of(&[&LABELLED])).await.unwrap(), "");
    let store = open(&database, &[&LABELLED]).await.unwrap();
    assert_eq!(store.count(&LABELLED, &label_is("a")).await.unwrap(), 1);
    store.expire_inbox(Duration::ZERO).await.unwrap();
    let made = connect(&owner).await;
    open(&made, &[&LABELLED]).await.unwrap();
}
