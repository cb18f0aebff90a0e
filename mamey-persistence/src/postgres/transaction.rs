//! Transactions that handlers and users open themselves, and how a unit of work joins them.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use mamey_core::context::TransactionPlace;
use mamey_core::store::{CommitOutcome, OpenTransaction, Store, UnitOfWork};
use mamey_core::{Context, Error, Result};
use sqlx::postgres::PgConnection;

use super::PostgresStore;
use super::commit::work::Work;
use super::connection::Open;
use super::error::{store_error, unique_violation};
use crate::common::wakeup::Listeners;

/// Statements of a handler's own, in the transaction of its unit of work.
pub trait PostgresContext {
    /// The handler's transaction, opened by the first call. What the handler buffers joins it after
    /// the handler has returned, and all of it commits together; when the handler fails, or runs
    /// again after a conflict, all of it is undone.
    ///
    /// Unlike anything else in a handler it holds a connection, and the locks of its statements,
    /// until the end: open it late. Drop the value before the handler returns, and before calling
    /// this again, which waits for it.
    ///
    /// ```no_run
    /// # use mamey_core::{Context, Result};
    /// use mamey_persistence::{PostgresContext, PostgresError};
    ///
    /// async fn note_visit(cx: &Context, page: &str) -> Result<()> {
    ///     let mut transaction = cx.postgres().await?;
    ///     sqlx::query("UPDATE pages SET visits = visits + 1 WHERE name = $1")
    ///         .bind(page)
    ///         .execute(&mut *transaction)
    ///         .await
    ///         .store_error()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// `Misconfigured` on another store, `Unavailable` and the like.
    fn postgres(&self) -> impl Future<Output = Result<PostgresTransaction<'_>>> + Send;
}

impl PostgresContext for Context {
    async fn postgres(&self) -> Result<PostgresTransaction<'_>> {
        let store = postgres_store(self.store())?;
        let mut place = self.transaction().await;
        if place.is_none() {
            let open = store.database.connections.begin().await;
            let open = open.map_err(|cause| store.database.error(cause))?;
            *place = Some(OpenTransaction::new(open));
        }
        Ok(PostgresTransaction(place))
    }
}

/// A handler's open transaction: a connection for statements with [`sqlx`].
pub struct PostgresTransaction<'c>(TransactionPlace<'c>);

impl Deref for PostgresTransaction<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        let open = self.0.as_ref().and_then(OpenTransaction::get::<Open>);
        &open.expect("`postgres` has put it there").connection
    }
}

impl DerefMut for PostgresTransaction<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        let open = self.0.as_mut().and_then(OpenTransaction::get_mut::<Open>);
        &mut open.expect("`postgres` has put it there").connection
    }
}

impl fmt::Debug for PostgresTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresTransaction")
    }
}

/// Joins a unit of work to a transaction of the caller's own, on the same database: for people who
/// keep their own tables and want the outbox and the inbox beside them.
///
/// The unit takes effect when the caller commits. Unless the outcome is `Committed`, nothing of the
/// unit is in the transaction, which can still be used; to roll it back is right nearly always.
///
/// ```no_run
/// # use mamey_core::store::{CommitOutcome, Store, UnitOfWork};
/// # use mamey_core::{Error, Result};
/// use mamey_persistence::{PostgresError, enlist};
/// use sqlx::{Connection, PgConnection};
///
/// // `unit` holds what was published; a `ContextRuntime` gives one by `unit_of_work`.
/// async fn pay(own: &mut PgConnection, store: &dyn Store, unit: UnitOfWork) -> Result<()> {
///     let mut transaction = own.begin().await.store_error()?;
///     sqlx::query("UPDATE invoices SET paid = true WHERE number = 7")
///         .execute(&mut *transaction)
///         .await
///         .store_error()?;
///     let enlisted = enlist(store, &mut transaction, unit).await?;
///     if let CommitOutcome::Committed(_) = enlisted.outcome() {
///         transaction.commit().await.store_error()?;
///         enlisted.committed();
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
/// As [`CommitStore::commit`](mamey_core::store::CommitStore::commit); `Misconfigured` on another
/// store. After a failure that PostgreSQL reports the transaction can only be rolled back.
pub async fn enlist(
    store: &dyn Store,
    transaction: &mut PgConnection,
    unit: UnitOfWork,
) -> Result<Enlisted> {
    let store = postgres_store(store)?;
    store.declared.check_unit(&unit)?;
    let work = Arc::new(Work::new(store, unit)?);
    let announces = !work.unit.outbox.is_empty();
    let outcome = store.committer.join(transaction, &work).await.map_err(Arc::new);
    let outcome = match outcome {
        Err(cause) => Err(store.refused(cause)),
        Ok(outcome) => outcome.into_result(),
    };
    let listeners = announces.then(|| Arc::clone(store.committer.listeners()));
    outcome.map(|outcome| Enlisted { outcome, listeners })
}

/// A unit of work inside a transaction of the caller's own.
#[must_use = "its outcome may ask for a rollback"]
pub struct Enlisted {
    outcome: CommitOutcome,
    listeners: Option<Arc<Listeners>>,
}

impl Enlisted {
    /// What will have become of the unit when the transaction commits.
    #[must_use]
    pub const fn outcome(&self) -> CommitOutcome {
        self.outcome
    }

    /// Says that the caller has committed, so that the messages leave at once. Without it they
    /// leave when the relay looks by itself.
    pub fn committed(self) {
        if let Some(listeners) = self.listeners {
            listeners.notify();
        }
    }
}

impl fmt::Debug for Enlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enlisted").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Turns failures of one's own statements into ours, which say whether to try again.
pub trait PostgresError<T> {
    /// The same, as an [`Error`]: `AlreadyExists` for a taken value, `NotFound` for a row that
    /// should be there, `Conflict` for a deadlock, `Unavailable` for a server out of reach.
    ///
    /// # Errors
    /// When the statement failed.
    fn store_error(self) -> Result<T>;
}

impl<T> PostgresError<T> for Result<T, sqlx::Error> {
    fn store_error(self) -> Result<T> {
        self.map_err(|cause| {
            if let Some((table, constraint)) = unique_violation(&cause) {
                let message = format!("a row of `{table}` already has this value (`{constraint}`)");
                return Error::already_exists(message).with_source(cause);
            }
            if matches!(cause, sqlx::Error::RowNotFound) {
                return Error::not_found("the statement found no row").with_source(cause);
            }
            store_error("PostgreSQL", cause)
        })
    }
}

fn postgres_store(store: &dyn Store) -> Result<&PostgresStore> {
    let any: &dyn Any = store;
    any.downcast_ref().ok_or_else(|| {
        let name = store.capabilities().name;
        Error::misconfigured(format!(
            "a transaction of PostgreSQL needs the store on PostgreSQL, and this context is on \
             `{name}`: set MAMEY_STORE to a `postgres://` URL"
        ))
    })
}
