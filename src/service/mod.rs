//! The composition root: contexts, a store and a transport become a running service.

mod declaring;
mod hosted;
mod in_force;
mod repartitioning;
mod running;
mod settings;
mod signals;
mod start;
mod tasks;
mod totals;
mod turn;
mod waiting;

use std::fmt;
use std::sync::Arc;

use mamey_core::clock::{Clock, SystemClock};
use mamey_core::store::Database;
use mamey_core::transport::Transport;
use mamey_core::{Error, Result, redact_url};
use mamey_cqrs::BoundedContext;

pub use running::RunningService;
pub use settings::Settings;
use signals::Signals;
pub use totals::Totals;

/// Builds a service: what it hosts, where it stores, what carries its messages.
///
/// Several contexts in one service make a monolith; one in each makes microservices. The contexts
/// themselves are the same in both.
///
/// ```
/// use mamey::{BoundedContext, Command, Context, Result, Service};
///
/// #[derive(Clone, Command)]
/// #[command(reply = String)]
/// struct Greet { name: String }
///
/// async fn greet(command: Greet, _: &Context) -> Result<String> {
///     Ok(format!("hello, {}", command.name))
/// }
///
/// fn greetings() -> BoundedContext {
///     BoundedContext::new("greetings").command(greet)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let service = Service::in_memory().host(greetings()).start().await?;
/// assert_eq!(service.send(Greet { name: "Ada".into() }).await?, "hello, Ada");
/// service.shutdown().await
/// # }
/// ```
///
/// A program in production takes its settings from the environment, and runs until it is told to
/// stop:
///
/// ```no_run
/// # use mamey::{BoundedContext, Result, Service};
/// # fn orders() -> BoundedContext { BoundedContext::new("orders") }
/// # fn payments() -> BoundedContext { BoundedContext::new("payments") }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// Service::from_env()?.host(orders()).host(payments()).run().await
/// # }
/// ```
#[must_use = "a service does nothing until it is started"]
pub struct Service {
    settings: Settings,
    contexts: Vec<BoundedContext>,
    database: Option<Arc<dyn Database>>,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
}

impl Service {
    /// A service with settings from the environment; [`Settings`] lists the variables and their
    /// defaults.
    ///
    /// # Errors
    /// `Misconfigured`, naming the variable that is wrong.
    pub fn from_env() -> Result<Self> {
        Settings::from_env().map(Self::new)
    }

    /// A service with these settings.
    pub fn new(settings: Settings) -> Self {
        let (contexts, clock) = (Vec::new(), Arc::new(SystemClock));
        Self { settings, contexts, database: None, transport: None, clock }
    }

    /// A service that keeps everything in memory, for tests and trials: what it stores is gone when
    /// the process ends.
    pub fn in_memory() -> Self {
        Self::new(Settings::default()).store_url("memory:").transport_url("memory:")
    }

    /// Hosts a bounded context.
    pub fn host(mut self, context: BoundedContext) -> Self {
        self.contexts.push(context);
        self
    }

    /// Stores at this URL instead of the one in the settings.
    pub fn store_url(mut self, url: impl Into<String>) -> Self {
        self.settings = self.settings.with_store_url(url);
        self.database = None;
        self
    }

    /// Stores in a database that is already open. The service closes it when it ends.
    pub fn store(mut self, database: impl Database) -> Self {
        self.database = Some(Arc::new(database));
        self
    }

    /// Sends over the transport at this URL instead of the one in the settings.
    pub fn transport_url(mut self, url: impl Into<String>) -> Self {
        self.settings = self.settings.with_transport_url(url);
        self.transport = None;
        self
    }

    /// Sends over a transport that is already open. The service closes it when it ends.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Takes the time from `clock`, also in a store that is opened by URL.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The SQL that the store's database lacks, for an administrator to run where the service's own
    /// role may only read and write rows; empty when nothing is missing. The call changes nothing.
    ///
    /// # Errors
    /// `Misconfigured` for a store other than PostgreSQL, or one passed to [`Service::store`]: ask
    /// that store itself. Otherwise as [`Service::start`].
    pub async fn migration_sql(&self) -> Result<String> {
        if self.database.is_some() {
            return Err(Error::misconfigured(
                "this service was given an open store: ask that store for its SQL, \
                 or set `store_url` instead of `store`",
            ));
        }
        let schemas: Vec<_> =
            self.contexts.iter().map(BoundedContext::schema).collect::<Result<_>>()?;
        mamey_persistence::migration_sql(self.settings.store()?.as_str(), &schemas).await
    }

    /// Runs until SIGTERM or Ctrl-C, then drains: takes nothing new, finishes what runs, and returns
    /// the rest to the transport.
    ///
    /// # Errors
    /// As [`Service::start`] and [`RunningService::shutdown`].
    pub async fn run(self) -> Result<()> {
        // Signals are caught from here on: one that arrives during the start ends the service in
        // order, too.
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
