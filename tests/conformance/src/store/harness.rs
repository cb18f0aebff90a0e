//! A database under test, and how to connect to it once more.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mamey_core::Result;
use mamey_core::clock::{Clock, ManualClock, Timestamp};
use mamey_core::criteria::Collection;
use mamey_core::message::ContextName;
use mamey_core::store::{Database, Schema, Store};

use super::fixture::{ITEMS, NOTES};

type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Database>>> + Send + Sync>;

/// Runs a statement on the database itself, and what the names of Mamey's tables begin with.
struct Sql {
    prefix: &'static str,
    redraw: Option<&'static str>,
    run: Box<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>,
}

/// An empty database under test, and the clock that it was made with.
#[must_use]
pub struct StoreHarness {
    pub(super) clock: Arc<ManualClock>,
    database: Arc<dyn Database>,
    connect: Option<Connect>,
    sql: Option<Sql>,
    guards: Vec<Box<dyn Any + Send>>,
}

impl StoreHarness {
    /// A harness around an empty database whose leases and receipts take their time from `clock`.
    pub fn new(database: Arc<dyn Database>, clock: Arc<ManualClock>) -> Self {
        Self { clock, database, connect: None, sql: None, guards: Vec::new() }
    }

    /// Keeps something until the case has ended, such as a temporary folder.
    pub fn keeping(mut self, guard: impl Any + Send) -> Self {
        self.guards.push(Box::new(guard));
        self
    }

    /// How to connect to the same database once more, with the same clock; needed by a store that is
    /// durable or shared.
    pub fn with_connect<F>(mut self, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Arc<dyn Database>>> + Send + 'static,
    {
        self.connect = Some(Box::new(move || connect().boxed()));
        self
    }

    /// A way to damage rows, for a store with tables: `run` runs a statement of SQL, and `prefix` is
    /// what the names of Mamey's tables begin with for the context `orders`, as in `orders._outbox`.
    pub fn with_sql<F>(
        mut self,
        prefix: &'static str,
        run: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.sql = Some(Sql { prefix, redraw: None, run: Box::new(move |sql| run(sql).boxed()) });
        self
    }

    /// The statement after which the outbox of the context `orders` draws its sequences from 1 again,
    /// as after a restore; with [`StoreHarness::with_sql`].
    pub fn with_redraw(mut self, redraw: &'static str) -> Self {
        if let Some(sql) = &mut self.sql {
            sql.redraw = Some(redraw);
        }
        self
    }

    /// Empties the outbox and has its sequences drawn again; false for a store that cannot go back.
    pub(super) async fn restore_empty_outbox(&self) -> bool {
        let Some(Sql { prefix, redraw: Some(redraw), run }) = &self.sql else { return false };
        run(format!("DELETE FROM {prefix}outbox; {redraw}")).await;
        true
    }

    /// Makes rows ones that this build cannot read, as another build could leave them; false for a
    /// store that cannot have such rows.
    pub(super) async fn damage(&self, table: &str, set: &str, of: &str) -> bool {
        let Some(Sql { prefix, run, .. }) = &self.sql else { return false };
        run(format!("UPDATE {prefix}{table} SET {set} WHERE {of} LIKE '%damaged%'")).await;
        true
    }

    /// The context that most cases use.
    pub(super) async fn store(&self) -> Arc<dyn Store> {
        self.context("orders").await
    }

    pub(super) async fn context(&self, name: &str) -> Arc<dyn Store> {
        open(&*self.database, name).await
    }

    /// A context as a build that declares this collection alone opens it.
    pub(super) async fn declaring(&self, collection: &'static Collection) -> Arc<dyn Store> {
        let schema = Schema::new(ContextName::new("builds").unwrap(), vec![collection]);
        self.database.open(&schema).await.unwrap()
    }

    /// The context that most cases use, over a connection of its own.
    pub(super) async fn store_over_another_connection(&self) -> Arc<dyn Store> {
        let connect = self.connect.as_ref();
        let connect = connect.expect("a store that is durable or shared needs `with_connect`");
        open(&*connect().await.unwrap(), "orders").await
    }

    /// Closes the database; another connection can still be made.
    pub(super) async fn close(&self) {
        self.database.close().await;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for StoreHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreHarness({})", self.database.describe())
    }
}

async fn open(database: &dyn Database, context: &str) -> Arc<dyn Store> {
    let context = ContextName::new(context).unwrap();
    let schema = Schema::new(context, vec![&ITEMS, &NOTES]);
    database.open(&schema).await.unwrap()
}
