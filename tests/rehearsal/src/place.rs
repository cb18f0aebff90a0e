//! Where a round takes place: a database, a transport, and the folder of the logs.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mamey_test_support::{postgres, rabbitmq};
use tempfile::TempDir;

use crate::error::{Error, Result};

/// A store and a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pair {
    /// Processes of both builds share the database, and the broker brings their messages.
    PostgresRabbitmq,
    /// Processes of both builds share the database, and each relays to itself.
    PostgresMemory,
    /// One process at a time, and the broker keeps what it leaves behind.
    SqliteRabbitmq,
    /// One process at a time.
    SqliteMemory,
}

impl Pair {
    /// Its name on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::PostgresRabbitmq => "postgres-rabbitmq",
            Self::PostgresMemory => "postgres-memory",
            Self::SqliteRabbitmq => "sqlite-rabbitmq",
            Self::SqliteMemory => "sqlite-memory",
        }
    }

    /// Whether several processes may run at a time.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Self::PostgresRabbitmq | Self::PostgresMemory)
    }

    const fn has_broker(self) -> bool {
        matches!(self, Self::PostgresRabbitmq | Self::SqliteRabbitmq)
    }
}

/// Where a round takes place; what it has made is deleted with it.
pub(crate) struct Place {
    store_url: String,
    transport_url: String,
    folder: TempDir,
    _database: Option<postgres::Database>,
    _vhost: Option<rabbitmq::Vhost>,
}

impl Place {
    pub(crate) async fn prepare(pair: Pair) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mamey-rehearsal-").tempdir();
        let folder = folder.map_err(Error::system("making a folder"))?;
        let database = if pair.is_shared() { Some(postgres::database().await?) } else { None };
        let vhost = if pair.has_broker() { Some(rabbitmq::vhost().await?) } else { None };
        let file = || format!("sqlite:{}", folder.path().join("rehearsal.db").display());
        Ok(Self {
            store_url: database.as_ref().map_or_else(file, |it| it.url().to_owned()),
            transport_url: vhost.as_ref().map_or("memory:", rabbitmq::Vhost::url).to_owned(),
            _database: database,
            _vhost: vhost,
            folder,
        })
    }

    pub(crate) fn store_url(&self) -> &str {
        &self.store_url
    }

    pub(crate) fn transport_url(&self) -> &str {
        &self.transport_url
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Leaves the logs where they are, and says where.
    pub(crate) fn keep_logs(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}
