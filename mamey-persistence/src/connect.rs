//! Picks the store that a URL names, from one table of backends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mamey_core::clock::Clock;
use mamey_core::connection::ConnectionUrl;
use mamey_core::store::{Database, Schema};
use mamey_core::{Error, Result, redact_url};

/// A kind of store: how its URLs begin, and what is done with them.
///
/// A row stays in the table when its feature is off, so that its URL is refused by an error that
/// names the feature.
struct Backend {
    /// What stands before the colon of its URLs.
    schemes: &'static [&'static str],
    /// The Cargo feature that builds it.
    feature: &'static str,
    /// One of its URLs, for error texts.
    example: &'static str,
    /// Reads a URL without touching a file or a server; `None` when the feature is off.
    check: Option<fn(&str) -> Result<()>>,
    /// Connects; `None` when the feature is off.
    connect: Option<Connect>,
    /// Says what a database lacks; `None` as well for a store that always migrates itself.
    migration_sql: Option<MigrationSql>,
}

type Connect = fn(ConnectionUrl, Arc<dyn Clock>) -> Pending<'static, Arc<dyn Database>>;

type MigrationSql = for<'u> fn(&'u str, &'u [Schema]) -> Pending<'u, String>;

type Pending<'u, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'u>>;

/// A function of a backend; `None` when its feature is off.
macro_rules! built {
    ($feature:literal, $function:expr) => {{
        #[cfg(feature = $feature)]
        {
            Some($function)
        }
        #[cfg(not(feature = $feature))]
        {
            None
        }
    }};
}

/// Every store that there is. A new one is a folder, a `mod` line, a Cargo feature and a row here.
const BACKENDS: &[Backend] = &[
    Backend {
        schemes: &["memory"],
        feature: "memory",
        example: "memory:",
        check: built!("memory", crate::memory::check),
        connect: built!("memory", |url, clock| Box::pin(crate::memory::connect(url, clock))),
        migration_sql: None,
    },
    Backend {
        schemes: &["sqlite"],
        feature: "sqlite",
        example: "sqlite:path/to/file.db",
        check: built!("sqlite", crate::sqlite::check),
        connect: built!("sqlite", |url, clock| Box::pin(crate::sqlite::connect(url, clock))),
        migration_sql: None,
    },
    Backend {
        schemes: &["postgres", "postgresql"],
        feature: "postgres",
        example: "postgres://user:password@host/database",
        check: built!("postgres", crate::postgres::check),
        connect: built!("postgres", |url, clock| Box::pin(crate::postgres::connect(url, clock))),
        migration_sql: built!("postgres", |url, schemas| {
            Box::pin(crate::postgres::migration_sql(url, schemas))
        }),
    },
];

/// Connects to the database that a URL names: `memory:`, `sqlite:path/to/file.db` or
/// `postgres://user:password@host/database`. A database that several instances share uses its own
/// clock instead of `clock`.
///
/// ```
/// use std::sync::Arc;
///
/// use mamey::clock::SystemClock;
/// use mamey::persistence::connect;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mamey::Result<()> {
/// let database = connect("memory:", Arc::new(SystemClock)).await?;
/// assert_eq!(database.describe(), "memory:");
///
/// let refused = connect("mysql://app:s3cret@db/orders", Arc::new(SystemClock)).await;
/// let error = refused.err().unwrap();
/// assert!(error.to_string().contains("mysql://app:***@db/orders"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Misconfigured` for a URL that names no store of this build, and as connecting to the store.
pub async fn connect(
    url: impl Into<ConnectionUrl>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Database>> {
    let url = url.into();
    let backend = backend_of(url.as_str())?;
    let connect = backend.connect.ok_or_else(|| backend.not_built())?;
    connect(url, clock).await
}

/// Whether [`connect`] understands a URL, as far as can be told without touching a file or a server.
///
/// # Errors
/// `Misconfigured`, as [`connect`] gives it.
pub fn check_url(url: &str) -> Result<()> {
    let backend = backend_of(url)?;
    let check = backend.check.ok_or_else(|| backend.not_built())?;
    check(url)
}

/// The SQL that the database of a URL lacks for these contexts, for an administrator to run where the
/// service's own role may not change a schema; empty when nothing is missing. It changes nothing.
///
/// ```no_run
/// use mamey::message::ContextName;
/// use mamey::persistence::migration_sql;
/// use mamey::store::Schema;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mamey::Result<()> {
/// let orders = Schema::new(ContextName::new("orders")?, Vec::new());
/// let sql = migration_sql("postgres://admin@db/shop", &[orders]).await?;
/// std::fs::write("migration.sql", sql).expect("the folder can be written");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Misconfigured` for a store that has no such SQL, which is every store but PostgreSQL; otherwise
/// as connecting to the store.
pub async fn migration_sql(url: &str, schemas: &[Schema]) -> Result<String> {
    let backend = backend_of(url)?;
    if backend.check.is_none() {
        return Err(backend.not_built());
    }
    let Some(migration_sql) = backend.migration_sql else {
        return Err(Error::misconfigured(format!(
            "`{}` has no SQL to print: only PostgreSQL has roles that may not change a schema",
            redact_url(url)
        )));
    };
    migration_sql(url, schemas).await
}

impl Backend {
    fn not_built(&self) -> Error {
        let Self { feature, example, .. } = self;
        Error::misconfigured(format!(
            "this build has no store for `{example}`: turn on the Cargo feature `{feature}`; \
             it has {}",
            built()
        ))
    }
}

fn backend_of(url: &str) -> Result<&'static Backend> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let known = BACKENDS.iter().find(|backend| backend.schemes.contains(&scheme));
    known.ok_or_else(|| {
        Error::misconfigured(format!(
            "no store is known for `{}`: this build has {}",
            redact_url(url),
            built()
        ))
    })
}

/// The URLs that this build accepts.
fn built() -> String {
    let stores = BACKENDS.iter().filter(|backend| backend.check.is_some());
    let examples: Vec<_> = stores.map(|backend| format!("`{}`", backend.example)).collect();
    if examples.is_empty() {
        let features: Vec<_> =
            BACKENDS.iter().map(|backend| format!("`{}`", backend.feature)).collect();
        return format!("none: turn on one of the Cargo features {}", features.join(", "));
    }
    examples.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_left_out_names_its_feature() {
        let left_out = Backend {
            schemes: &["sqlite"],
            feature: "sqlite",
            example: "sqlite:path/to/file.db",
            check: None,
            connect: None,
            migration_sql: None,
        };
        let error = left_out.not_built();
        assert_eq!(error.kind(), mamey_core::ErrorKind::Misconfigured);
        assert!(error.to_string().contains("feature `sqlite`"), "{error}");
    }

    #[test]
    fn a_scheme_belongs_to_one_backend() {
        let mut seen = std::collections::HashSet::new();
        for scheme in BACKENDS.iter().flat_map(|backend| backend.schemes) {
            assert!(seen.insert(scheme), "{scheme}");
        }
    }

    #[test]
    fn a_row_is_built_as_a_whole_or_not_at_all() {
        for backend in BACKENDS {
            assert_eq!(backend.check.is_some(), backend.connect.is_some(), "{}", backend.feature);
            assert!(backend.check.is_some() || backend.migration_sql.is_none());
        }
    }
}
