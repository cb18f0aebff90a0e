//! Picks a store by URL, as a service's settings name it.

use std::sync::Arc;

use mamey_core::clock::Clock;
use mamey_core::store::{Database, Schema};
use mamey_core::{Error, Result, redact_url};

/// Connects to the database that a URL names: `memory:`, `sqlite:path/to/file.db` or
/// `postgres://user:password@host/database`, which goes by its own clock.
///
/// # Errors
/// `Misconfigured` for a URL that this build has no store for, naming those it has; what the store
/// says.
pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Database>> {
    match url.split_once(':') {
        Some(("memory", rest)) => memory(rest, clock),
        Some(("sqlite", _)) => sqlite(url, clock).await,
        Some(("postgres" | "postgresql", _)) => postgres(url).await,
        _ => Err(unknown(url)),
    }
}

/// The SQL that the database of a URL lacks for these contexts, for an administrator to run where the
/// service's own role may not; empty when nothing is missing. It changes nothing.
///
/// # Errors
/// `Misconfigured` for a store that has no such SQL, which is every one but PostgreSQL; what the store
/// says.
pub async fn migration_sql(url: &str, schemas: &[Schema]) -> Result<String> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => postgres_sql(url, schemas).await,
        _ => Err(Error::misconfigured(format!(
            "`{}` has no SQL to print: only PostgreSQL has roles that may not change a schema",
            redact_url(url)
        ))),
    }
}

#[cfg(feature = "postgres")]
async fn postgres_sql(url: &str, schemas: &[Schema]) -> Result<String> {
    let options = crate::PostgresOptions::default().with_listen(false);
    let database = crate::PostgresDatabase::connect(url, options).await?;
    let mut sql = String::new();
    for schema in schemas {
        sql.push_str(&database.migration_sql(schema).await?);
    }
    database.close().await;
    Ok(sql)
}

#[cfg(not(feature = "postgres"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
async fn postgres_sql(_url: &str, _schemas: &[Schema]) -> Result<String> {
    Err(not_built("postgres"))
}

/// Whether [`connect`] understands a URL: what shows without touching a file or a server.
///
/// # Errors
/// `Misconfigured`, as [`connect`] would say it.
pub fn check_url(url: &str) -> Result<()> {
    match url.split_once(':') {
        Some(("memory", rest)) => check_memory(rest),
        Some(("sqlite", _)) => check_sqlite(url),
        Some(("postgres" | "postgresql", _)) => check_postgres(url),
        _ => Err(unknown(url)),
    }
}

#[cfg(feature = "memory")]
fn check_memory(rest: &str) -> Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Error::misconfigured("the store in memory has no name and no options: write `memory:`"))
}

#[cfg(not(feature = "memory"))]
fn check_memory(_rest: &str) -> Result<()> {
    Err(not_built("memory"))
}

#[cfg(feature = "sqlite")]
fn check_sqlite(url: &str) -> Result<()> {
    crate::sqlite::check_url(url)
}

#[cfg(not(feature = "sqlite"))]
fn check_sqlite(_url: &str) -> Result<()> {
    Err(not_built("sqlite"))
}

#[cfg(feature = "postgres")]
fn check_postgres(url: &str) -> Result<()> {
    crate::postgres::check_url(url)
}

#[cfg(not(feature = "postgres"))]
fn check_postgres(_url: &str) -> Result<()> {
    Err(not_built("postgres"))
}

#[cfg(feature = "memory")]
fn memory(rest: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Database>> {
    check_memory(rest)?;
    Ok(Arc::new(crate::MemoryDatabase::new(clock)))
}

#[cfg(not(feature = "memory"))]
fn memory(_rest: &str, _clock: Arc<dyn Clock>) -> Result<Arc<dyn Database>> {
    Err(not_built("memory"))
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Database>> {
    let options = crate::SqliteOptions { clock, ..crate::SqliteOptions::default() };
    let database = crate::SqliteDatabase::open(url, options).await?;
    Ok(Arc::new(database))
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
async fn sqlite(_url: &str, _clock: Arc<dyn Clock>) -> Result<Arc<dyn Database>> {
    Err(not_built("sqlite"))
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn Database>> {
    let options = crate::PostgresOptions::default();
    Ok(Arc::new(crate::PostgresDatabase::connect(url, options).await?))
}

#[cfg(not(feature = "postgres"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
async fn postgres(_url: &str) -> Result<Arc<dyn Database>> {
    Err(not_built("postgres"))
}

#[cfg(not(all(feature = "memory", feature = "postgres", feature = "sqlite")))]
fn not_built(feature: &str) -> Error {
    Error::misconfigured(format!(
        "this build has no `{feature}:` store: add the cargo feature `{feature}`; it has {}",
        known()
    ))
}

fn unknown(url: &str) -> Error {
    Error::misconfigured(format!(
        "no store is known for `{}`: this build has {}",
        redact_url(url),
        known()
    ))
}

/// The URLs this build takes.
fn known() -> String {
    let stores = [
        (cfg!(feature = "memory"), "`memory:`"),
        (cfg!(feature = "sqlite"), "`sqlite:path/to/file.db`"),
        (cfg!(feature = "postgres"), "`postgres://user:password@host/database`"),
    ];
    let built = stores.iter().filter(|(built, _)| *built);
    let names: Vec<_> = built.map(|(_, url)| *url).collect();
    if names.is_empty() {
        return "none: add the cargo feature `memory`, `sqlite` or `postgres`".to_owned();
    }
    names.join(" and ")
}
