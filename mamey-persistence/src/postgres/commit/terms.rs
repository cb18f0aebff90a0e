//! What a call of the functions that commit is told beside its units.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::postgres::query::bind::PgQuery;

/// What a call is told beside its units.
pub(crate) struct Terms<'t> {
    /// The context's schema, which keeps its locks apart from those of other contexts.
    pub(crate) schema: &'t str,
    /// The time; the database's own when it is `None`.
    pub(crate) now: Option<i64>,
    /// How long to wait for each lock that another transaction holds; as long as the session does
    /// when it is `None`.
    pub(crate) lock_wait: Option<Duration>,
}

impl Terms<'_> {
    /// A call with its first arguments.
    pub(crate) fn begin(&self, sql: &Arc<str>) -> PgQuery<'static> {
        let lock_wait = self.lock_wait.map(|wait| wait.as_millis().to_string());
        sqlx::query(AssertSqlSafe(Arc::clone(sql))).bind(self.now).bind(lock_wait)
    }
}
