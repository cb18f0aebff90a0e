//! Tables of a SQLite file are gone for a while.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::world::World;

/// A table, and what it is called while it is gone.
const TABLES: [(&str, &str); 3] = [
    // The handler's own read and commit fail.
    ("\"ledger.entries\"", "gone_entries"),
    // Its commit fails, and so does the parking of its message.
    ("mamey_inbox", "gone_inbox"),
    ("mamey_parked", "gone_parked"),
];

async fn rename(path: &Path, from: &str, to: &str) {
    let url = format!("sqlite:{}", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let sql = format!("ALTER TABLE {from} RENAME TO {to}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn a_table_is_gone_for_a_while((table, gone): (&str, &str), transport: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut world = World::start(&format!("sqlite:{}", path.display()), transport).await;
    world.emit().await;
    world.check().await;
    rename(&path, table, gone).await;
    world.emit().await;
    world.until_it_failed().await;
    rename(&path, gone, table).await;
    world.check().await;
    rename(&path, table, gone).await;
    world.emit().await;
    world.until_it_failed().await;
    world.restart(rename(&path, gone, table)).await;
    world.check().await;
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_gone_for_a_while_in_process() {
    for table in TABLES {
        a_table_is_gone_for_a_while(table, "memory:").await;
    }
}

#[cfg(feature = "rabbitmq")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_gone_for_a_while_over_rabbitmq() {
    for table in TABLES {
        let vhost = mamey_test_support::require!(mamey_test_support::rabbitmq::vhost().await);
        a_table_is_gone_for_a_while(table, vhost.url()).await;
    }
}
