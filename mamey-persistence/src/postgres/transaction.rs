//! The transaction that a handler opens for statements of its own.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};

use mamey_core::context::TransactionPlace;
use mamey_core::store::{OpenTransaction, Store};
use mamey_core::{Context, Error, Result, Retry};
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::connection::lending::LentTransaction;
use super::store::PostgresStore;

/// Statements of a handler's own, in the transaction of its unit of work.
///
/// ```no_run
/// use mamey::persistence::{PostgresContext, PostgresResultExt};
/// use mamey::{Command, Context, Result};
///
/// #[derive(Clone, Command)]
/// pub struct VisitPage {
///     pub name: String,
/// }
///
/// async fn visit_page(command: VisitPage, cx: &Context) -> Result<()> {
///     let mut transaction = cx.postgres().await?;
///     sqlx::query("UPDATE pages SET visits = visits + 1 WHERE name = $1")
///         .bind(&command.name)
///         .execute(&mut *transaction)
///         .await
///         .store_error()?;
///     Ok(())
/// }
/// # let _context = mamey::BoundedContext::new("pages").command(visit_page);
/// ```
pub trait PostgresContext {
    /// The handler's transaction, opened by the first call. What the handler buffers joins it after
    /// the handler has returned, and all of it commits together. When the handler fails, or runs
    /// again after a conflict, all of it is rolled back.
    ///
    /// Unlike anything else in a handler it holds a connection, and the locks of its statements,
    /// until the end: open it late. No more handlers have one at a time than there are common
    /// connections ([`connections_max`](super::PostgresOptions::connections_max)); the others wait.
    /// Drop the value before the handler returns, and before calling this again, which waits for it, at
    /// most as long as for a connection.
    ///
    /// While it is open, repositories read inside of it, over its connection. While its value is in use,
    /// they read over another one, and do not see what its statements have changed.
    ///
    /// A transaction that is begun inside of it is a savepoint. A statement that ends it (`COMMIT`,
    /// `ROLLBACK`) makes the commit fail. It is READ COMMITTED, as commits need it. What the handler
    /// sets in the session or leaves there ends with it.
    ///
    /// # Errors
    /// `Misconfigured` on another store, and when an earlier value is still in use; `Unavailable` when
    /// the server is out of reach or no connection becomes free.
    fn postgres(&self) -> impl Future<Output = Result<PostgresTransaction<'_>>> + Send;
}

impl PostgresContext for Context {
    async fn postgres(&self) -> Result<PostgresTransaction<'_>> {
        let store = postgres_store(self.store())?;
        let limit = store.database.connections.acquire_timeout();
        let place = timeout(limit, self.transaction()).await;
        let mut place = place.map_err(|_| in_use())?;
        if place.is_none() {
            let open = store.database.connections.begin().await;
            let open = open.map_err(|cause| store.database.error(cause).of_store())?;
            *place = Some(OpenTransaction::new(open));
        }
        Ok(PostgresTransaction(place))
    }
}

/// The error of a handler that would wait for itself.
fn in_use() -> Error {
    let message = "the transaction of `cx.postgres()` is in use by an earlier value of this handler: drop \
        that one before asking again";
    Error::misconfigured(message).with_retry(Retry::Never)
}

/// A handler's open transaction: a connection for statements with [`sqlx`].
pub struct PostgresTransaction<'c>(TransactionPlace<'c>);

impl Deref for PostgresTransaction<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        let open = self.0.as_ref().and_then(OpenTransaction::get::<LentTransaction>);
        &open.expect("`postgres` has opened it").connection
    }
}

impl DerefMut for PostgresTransaction<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        let open = self.0.as_mut().and_then(OpenTransaction::get_mut::<LentTransaction>);
        &mut open.expect("`postgres` has opened it").connection
    }
}

impl fmt::Debug for PostgresTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresTransaction")
    }
}

/// The store on PostgreSQL behind the port.
pub(crate) fn postgres_store(store: &dyn Store) -> Result<&PostgresStore> {
    let any: &dyn Any = store;
    any.downcast_ref().ok_or_else(|| {
        let name = store.capabilities().name;
        Error::misconfigured(format!(
            "a transaction of PostgreSQL needs the store on PostgreSQL, and this context is on \
             `{name}`: set MAMEY_STORE to a `postgres://` URL"
        ))
    })
}
