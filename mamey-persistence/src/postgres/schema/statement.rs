//! SQL about a context's own schema.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// The SQL with the context's schema in place of `mamey`; `schema` is its quoted name.
pub(crate) fn in_schema(schema: &str, sql: &str) -> String {
    sql.replace("mamey.", &format!("{schema}."))
}

/// Runs SQL without arguments, one statement or several.
pub(crate) async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}
