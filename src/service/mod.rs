//! The composition root: contexts, a store and a transport become a running service.

mod hosted;
mod running;
mod settings;
mod signals;
mod start;
mod tasks;

use std::fmt;
use std::sync::Arc;

use mamey_core::clock::{Clock, SystemClock};
use mamey_core::store::Database;
use mamey_core::transport::Transport;
use mamey_core::{Error, Result, redact_url};
use mamey_cqrs::BoundedContext;

pub use running::{RunningService, Totals};
pub use settings::Settings;
use signals::Signals;

/// A service that is being put together: what it hosts, where it stores, what carries its messages.
///
/// Several contexts in one service make a monolith; one in each makes microservices. Nothing in a
/// context knows which.
pub struct Service {
    settings: Settings,
    contexts: Vec<BoundedContext>,
    database: Option<Arc<dyn Database>>,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
}

impl Service {
    /// A service as the environment says; see [`Settings`] for the variables and their defaults.
    ///
    /// # Errors
    /// `Misconfigured`, naming the variable that is wrong.
    pub fn from_env() -> Result<Self> {
        Settings::from_env().map(Self::new)
    }

    /// A service as these settings say.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (contexts, clock) = (Vec::new(), Arc::new(SystemClock));
        Self { settings, contexts, database: None, transport: None, clock }
    }

    /// A service that keeps everything in memory and ends with the process, for tests and trials.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Settings::default()).store_url("memory:").transport_url("memory:")
    }

    /// Hosts a bounded context.
    #[must_use]
    pub fn host(mut self, context: BoundedContext) -> Self {
        self.contexts.push(context);
        self
    }

    /// Stores at this URL instead of the one from the settings.
    #[must_use]
    pub fn store_url(mut self, url: impl Into<String>) -> Self {
        self.settings.store_url = url.into();
        self.database = None;
        self
    }

    /// Stores in a database that is open already. The service closes it when it ends.
    #[must_use]
    pub fn store(mut self, database: impl Database) -> Self {
        self.database = Some(Arc::new(database));
        self
    }

    /// Sends over this URL instead of the one from the settings.
    #[must_use]
    pub fn transport_url(mut self, url: impl Into<String>) -> Self {
        self.settings.transport_url = url.into();
        self.transport = None;
        self
    }

    /// Sends over a transport that is open already. The service closes it when it ends.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Takes the time from `clock`, also in the store that the settings name.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The SQL that the store's database lacks, for an administrator to run where the service's own
    /// role may only read and write rows; empty when nothing is missing. It changes nothing. Only
    /// PostgreSQL has such SQL.
    ///
    /// # Errors
    /// `Misconfigured` for another store, or one given by [`Service::store`], which is asked itself;
    /// as [`Service::start`].
    pub async fn migration_sql(&self) -> Result<String> {
        if self.database.is_some() {
            return Err(Error::misconfigured(
                "this service was given an open store: ask that store for its SQL, \
                 or name it by `store_url`",
            ));
        }
        let schemas: Vec<_> =
            self.contexts.iter().map(BoundedContext::schema).collect::<Result<_>>()?;
        mamey_persistence::migration_sql(&self.settings.store_url, &schemas).await
    }

    /// Migrates the store, declares what is sent and received, and begins to work.
    ///
    /// # Errors
    /// `Misconfigured` for contexts, settings or a store that cannot work, naming what to mend;
    /// `Unavailable` when a server is out of reach. Nothing is left running.
    pub async fn start(self) -> Result<RunningService> {
        start::start(self).await
    }

    /// Runs until SIGTERM or Ctrl-C, then drains: takes nothing new, finishes what runs, and gives
    /// back the rest.
    ///
    /// # Errors
    /// As [`Service::start`] and [`RunningService::shutdown`].
    pub async fn run(self) -> Result<()> {
        // Caught from here on: asked to end while it starts, it ends in order too.
        let signals = Signals::listen();
        let service = self.start().await?;
        service.ended(signals).await;
        service.shutdown().await
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("store", &redact_url(&self.settings.store_url))
            .field("transport", &redact_url(&self.settings.transport_url))
            .field("contexts", &self.contexts.len())
            .finish_non_exhaustive()
    }
}
