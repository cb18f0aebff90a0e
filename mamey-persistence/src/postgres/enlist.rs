//! Joins a unit of work to a transaction that the caller opens and ends.

use std::fmt;
use std::sync::Arc;

use mamey_core::Result;
use mamey_core::store::{CommitOutcome, Store, UnitOfWork};
use sqlx::postgres::PgConnection;

use super::commit::work::Work;
use super::transaction::postgres_store;
use crate::common::wakeup::Listeners;

/// Joins a unit of work to a transaction of the caller's own, on the same database: for programs
/// that keep their own tables and want the outbox and the inbox beside them.
///
/// The unit takes effect when the caller commits. Unless the outcome is `Committed`, nothing of the
/// unit is in the transaction. The transaction could still be used, but nearly always the right
/// thing is to roll it back.
///
/// ```no_run
/// use mamey::persistence::{PostgresResultExt, enlist};
/// use mamey::store::{CommitOutcome, Store, UnitOfWork};
/// use sqlx::{Connection, PgConnection};
///
/// // `unit` holds what was published; `ContextRuntime::unit_of_work` gives one.
/// async fn pay(own: &mut PgConnection, store: &dyn Store, unit: UnitOfWork) -> mamey::Result<()> {
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
/// The transaction must be READ COMMITTED, as PostgreSQL's are by default: in another isolation the checks
/// of the commit would not see what was committed while they waited for a lock.
///
/// # Errors
/// As [`CommitStore::commit`](mamey_core::store::CommitStore::commit); `Misconfigured` on another
/// store, and in another isolation. After a failure that PostgreSQL reports the transaction can only be rolled back.
pub async fn enlist(
    store: &dyn Store,
    transaction: &mut PgConnection,
    unit: UnitOfWork,
) -> Result<Enlisted> {
    let store = postgres_store(store)?;
    store.tables.declared.check_unit(&unit)?;
    let work = Arc::new(Work::new(&store.tables, unit)?);
    let announces = !work.unit.outbox.is_empty();
    let outcome = match store.committer.join(transaction, &work).await {
        Err(cause) => Err(store.refused(Arc::new(cause))),
        Ok(answer) => answer.into_result(),
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
    /// The unit's outcome, provided that the transaction commits.
    #[must_use]
    pub const fn outcome(&self) -> CommitOutcome {
        self.outcome
    }

    /// Call it after the commit, so that the messages are relayed at once. Otherwise they are relayed
    /// when the relay next polls.
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
