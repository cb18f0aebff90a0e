//! Gives a test a PostgreSQL database, or a schema, of its own.

use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::OnceCell;

use crate::Result;
use crate::cleanup::Cleanup;
use crate::mutation;
use crate::name;
use crate::report::report;
use crate::server::Server;
use crate::url::Url;

const PRIMARY: Server = Server { name: "PostgreSQL", variable: "MAMEY_TEST_POSTGRES_URL" };
const REPLICA: Server =
    Server { name: "PostgreSQL's replica", variable: "MAMEY_TEST_POSTGRES_REPLICA_URL" };

const DATABASES: &str =
    "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, $1)";
const SCHEMAS: &str = "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)";
const PGBOUNCER: Server = Server { name: "PgBouncer", variable: "MAMEY_TEST_PGBOUNCER_URL" };

/// Sessions of a schema's test have its name; one that hangs in a transaction would keep the schema
/// locked.
const END_SESSIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";

/// A database that one test owns; dropped with this, sessions that are still open included.
pub struct Database {
    name: String,
    url: String,
    _cleanup: Cleanup,
}

impl Database {
    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL of the database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A URL of the same database on the replica, which has it a moment after the primary.
    ///
    /// # Errors
    ///
    /// [`Error::Unset`](crate::Error::Unset) where no variable names a replica.
    pub fn replica_url(&self) -> Result<String> {
        Ok(REPLICA.url()?.with_path(&self.name).to_text())
    }

    /// A URL of the same database through a PgBouncer that pools by transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Unset`](crate::Error::Unset) where no variable names a PgBouncer.
    pub fn pgbouncer_url(&self) -> Result<String> {
        Ok(PGBOUNCER.url()?.with_path(&self.name).to_text())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A schema that one test owns, in the database that all share; dropped with this.
///
/// Cheaper than a database (milliseconds, not a tenth of a second), but what belongs to a whole
/// database is shared: advisory locks, notification channels, publications, extensions.
pub struct Schema {
    name: String,
    url: String,
    _cleanup: Cleanup,
}

impl Schema {
    /// The schema's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL whose sessions have the schema as their search path, and its name as theirs.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a database for one test.
///
/// # Errors
///
/// Where the server is not there or does not let us.
pub async fn database() -> Result<Database> {
    let url = PRIMARY.url()?;
    let mut admin = connect(&url).await?;
    sweep_once(&mut admin).await;
    let name = name::fresh();
    let (at, dropped) = (url.clone(), name.clone());
    // The guard comes first: a cancelled creation is cleaned up too.
    let cleanup =
        Cleanup::new(&name, async move { drop_database(&mut connect(&at).await?, &dropped).await });
    // template0 has no sessions, which would keep it from being copied.
    execute(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
    let url = url.with_path(&name);
    if let Some(planting) = mutation::planting() {
        execute(&mut connect(&url).await?, &planting).await?;
    }
    Ok(Database { name, url: url.to_text(), _cleanup: cleanup })
}

/// Makes a schema for one test.
///
/// # Errors
///
/// Where the server is not there or does not let us.
pub async fn schema() -> Result<Schema> {
    let url = PRIMARY.url()?;
    let mut admin = connect(&url).await?;
    sweep_once(&mut admin).await;
    let name = name::fresh();
    let (at, dropped) = (url.clone(), name.clone());
    let cleanup =
        Cleanup::new(&name, async move { drop_schema(&mut connect(&at).await?, &dropped).await });
    execute(&mut admin, &format!("CREATE SCHEMA {name}")).await?;
    let url =
        url.with("options", &format!("-csearch_path%3D{name}")).with("application_name", &name);
    Ok(Schema { name, url: url.to_text(), _cleanup: cleanup })
}

/// Drops the databases and schemas that killed runs left, and returns their names.
///
/// Making a namespace does this once per process already.
///
/// # Errors
///
/// Where the server is not there or one of them cannot be dropped.
pub async fn sweep() -> Result<Vec<String>> {
    sweep_with(&mut connect(&PRIMARY.url()?).await?).await
}

async fn sweep_once(admin: &mut PgConnection) {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    let sweep = async {
        if let Err(error) = sweep_with(admin).await {
            report(&format!("what a killed run left stays: {}", error.in_full()));
        }
    };
    SWEPT.get_or_init(|| Box::pin(sweep)).await;
}

async fn sweep_with(admin: &mut PgConnection) -> Result<Vec<String>> {
    let mut swept = left_over(admin, DATABASES).await?;
    for name in &swept {
        drop_database(admin, name).await?;
    }
    for name in left_over(admin, SCHEMAS).await? {
        drop_schema(admin, &name).await?;
        swept.push(name);
    }
    Ok(swept)
}

async fn left_over(admin: &mut PgConnection, sql: &'static str) -> Result<Vec<String>> {
    let mut names: Vec<String> = sqlx::query_scalar(sql)
        .bind(name::PREFIX)
        .fetch_all(admin)
        .await
        .map_err(|error| PRIMARY.refused("list namespaces", error))?;
    names.retain(|name| name::is_left_over(name));
    Ok(names)
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> Result<()> {
    execute(admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}

async fn drop_schema(admin: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query(END_SESSIONS)
        .bind(name)
        .execute(&mut *admin)
        .await
        .map_err(|error| PRIMARY.refused("end sessions", error))?;
    execute(admin, &format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await
}

async fn execute(admin: &mut PgConnection, statement: &str) -> Result<()> {
    // Safe: our own words and a name that we have made, of letters, digits and underscores.
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(admin)
        .await
        .map(|_| ())
        .map_err(|error| PRIMARY.refused(statement, error))
}

async fn connect(url: &Url) -> Result<PgConnection> {
    let options: PgConnectOptions = url
        .to_text()
        .parse()
        .map_err(|error: sqlx::Error| PRIMARY.refused("understand its URL", error))?;
    // A test that logs its statements means its own.
    let options = options.disable_statement_logging();
    // Boxed: the driver is large, and this future becomes part of every test that asks.
    let connecting = async {
        PgConnection::connect_with(&options).await.map_err(|error| match error {
            sqlx::Error::Io(_) => PRIMARY.unreachable(url, error),
            error => PRIMARY.refused("let us in", error),
        })
    };
    PRIMARY.within_timeout(url, Box::pin(connecting)).await
}
