//! A PostgreSQL whose tables are gone or locked for a while, or whose rights were revoked.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use mamey_test_support::{Session, postgres, require};

use crate::world::World;

/// Ways to break the store of the ledger, and to fix it.
const WAYS: [(&str, &str); 5] = [
    // The handler's own read and commit fail.
    ("ALTER TABLE ledger.entries RENAME TO gone", "ALTER TABLE ledger.gone RENAME TO entries"),
    // Its commit fails, and so does the parking of its message.
    ("ALTER TABLE ledger._inbox RENAME TO gone", "ALTER TABLE ledger.gone RENAME TO _inbox"),
    ("ALTER TABLE ledger._parked RENAME TO gone", "ALTER TABLE ledger.gone RENAME TO _parked"),
    (
        "REVOKE INSERT, SELECT, UPDATE ON ledger.entries FROM ROLE",
        "GRANT INSERT, SELECT, UPDATE ON ledger.entries TO ROLE",
    ),
    ("BEGIN; LOCK TABLE ledger.entries IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
];

/// A user with the right to make schemas, which a superuser's rights could not be taken from.
async fn with_a_role(database: &postgres::Database, transport: &str) {
    let role = database.name().replace("mamey_test", "mamey_test_role");
    let mut admin = Session::of(database.url()).await;
    admin.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'loopback'")).await;
    admin.run(&format!("GRANT CREATE ON DATABASE {} TO {role}", database.name())).await;
    let (_, place) = database.url().rsplit_once('@').unwrap();
    let url = format!("postgres://{role}:loopback@{place}?lock_timeout_ms=200");
    let tried = AssertUnwindSafe(break_and_fix(database.url(), &url, &role, transport));
    let result = tried.catch_unwind().await;
    admin.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    assert!(result.is_ok(), "see above");
}

async fn break_and_fix(owner: &str, url: &str, role: &str, transport: &str) {
    let mut world = World::start(url, transport).await;
    for (broken, fixed) in WAYS {
        let mut admin = Session::of(owner).await;
        let (broken, fixed) = (broken.replace("ROLE", role), fixed.replace("ROLE", role));
        admin.run(&broken).await;
        world.emit().await;
        world.until_it_failed().await;
        admin.run(&fixed).await;
        world.check().await;
        admin.run(&broken).await;
        world.emit().await;
        world.until_it_failed().await;
        world.restart(admin.run(&fixed)).await;
        world.check().await;
    }
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses_for_a_while_loses_nothing_in_process() {
    let database = require!(postgres::database().await);
    with_a_role(&database, "memory:").await;
}

#[cfg(feature = "rabbitmq")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses_for_a_while_loses_nothing_over_rabbitmq() {
    let database = require!(postgres::database().await);
    let vhost = require!(mamey_test_support::rabbitmq::vhost().await);
    with_a_role(&database, vhost.url()).await;
}
