//! The settings of a service: environment variables, each with an embedded default.

mod closest;
mod contexts;
mod value;
mod variables;

#[cfg(test)]
mod settings_test;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mamey_core::connection::ConnectionUrl;
use mamey_core::message::SLOTS;
use mamey_core::{Error, Result, ResultExt, redact_url};
use mamey_cqrs::ContextSettings;
use mamey_messaging::{DRAIN_DEFAULT, LEASE_DEFAULT, PARTITIONS_DEFAULT, POLL_DEFAULT};

use contexts::in_variables;
pub(super) use contexts::{of_consumer, of_relay};

const SHORTEST: Duration = Duration::from_millis(1);
const LEASE_MAX: Duration = Duration::from_mins(10);
const POLL_MAX: Duration = Duration::from_mins(1);
const WAIT_MAX: Duration = Duration::from_hours(1);
const DRAIN_MAX: Duration = Duration::from_hours(1);
const INBOX_WINDOW_MAX: Duration = Duration::from_hours(24 * 3650);

/// The settings of a service, from its environment or set in code.
///
/// | Variable | Setting | Meaning | Default |
/// |---|---|---|---|
/// | `MAMEY_STORE` | `store_url` | the store's URL | `sqlite:mamey.db` |
/// | `MAMEY_STORE_FILE` | `store_file` | a file that holds the store's URL instead | none |
/// | `MAMEY_TRANSPORT` | `transport_url` | the transport's URL | `memory:` |
/// | `MAMEY_TRANSPORT_FILE` | `transport_file` | a file that holds the transport's URL instead | none |
/// | `MAMEY_WAIT_MS` | `wait` | how long the start waits for servers that do not answer yet | 0 |
/// | `MAMEY_PARTITIONS` | `partitions` | over how many partitions each context's work is spread, 1 to 64 | 8 |
/// | `MAMEY_LEASE_MS` | `lease` | how long a silent instance keeps its partitions | 15000 |
/// | `MAMEY_POLL_MS` | `poll` | how often to look for work that no notification announced | 1000 |
/// | `MAMEY_DRAIN_MS` | `drain` | how long running work may take at a shutdown | 25000 |
/// | `MAMEY_INBOX_DAYS` | `inbox_window` | how long messages and idempotency keys are remembered | 14 |
///
/// These hold for each context, and one context may have its own: `MAMEY_PREFETCH` is for all
/// contexts, `MAMEY_ORDER_BOOK_PREFETCH` for the context `order-book`. In code they are
/// [`ContextSettings`]. The service's setting for one context goes before what the context
/// [declares](mamey_cqrs::BoundedContext::configure), and that before the service's setting for all.
///
/// | Variable | Setting | Meaning | Default |
/// |---|---|---|---|
/// | `MAMEY_TIMEOUT_MS` | `timeout` | how long one run of a handler may take | 30000 |
/// | `MAMEY_RETRY_IMMEDIATE` | `retry.immediate` | how often a failed message runs again at once | 2 |
/// | `MAMEY_RETRY_DELAYED` | `retry.delayed` | how often it then runs again after pauses | 25 |
/// | `MAMEY_RETRY_FIRST_MS` | `retry.first_pause` | the first of these pauses, each twice the one before | 200 |
/// | `MAMEY_RETRY_LONGEST_MS` | `retry.longest_pause` | the longest of them | 300000 |
/// | `MAMEY_RETRY_ABORTS` | `retry.aborts` | how often the process may end while the handler runs from parking | 3 |
/// | `MAMEY_PREFETCH` | `prefetch` | how many received messages of one partition may be in memory | 64 |
/// | `MAMEY_LANES_MAX` | `lanes_max` | how many messages, each of another key, are handled at a time | 64 |
/// | `MAMEY_RETRIES_MAX` | `retries_max` | how many failed messages are retried at a time, beside those | 16 |
/// | `MAMEY_IN_FLIGHT_MAX` | `in_flight_max` | how many sent messages may be unconfirmed at a time | 256 |
/// | `MAMEY_SLOW_AFTER_MS` | `slow_after` | after how long a running handler no longer holds up others | 250 |
/// | `MAMEY_PARKED_MESSAGES_MAX` | `parked_messages_max` | how many messages may be parked | 100000 |
///
/// A value that cannot work is refused at the start, by name. A variable that this build does not
/// know, or that names a context which the service does not host, is reported in the log.
///
/// ```
/// use std::time::Duration;
/// use mamey::{Service, Settings};
///
/// let settings = Settings::from_env()?
///     .with_partitions(16)
///     .with_drain(Duration::from_secs(10));
/// let service = Service::new(settings);
/// # Ok::<(), mamey::Error>(())
/// ```
///
/// Of a file's URL, the user and the password are read again for each new connection, so that they
/// can change without a restart.
///
/// Orchestrators send SIGKILL some time after SIGTERM, Kubernetes after 30 s: keep `drain` below that.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The store's URL.
    pub store_url: String,
    /// A file that holds the store's URL, and goes before `store_url`.
    pub store_file: Option<PathBuf>,
    /// The transport's URL.
    pub transport_url: String,
    /// A file that holds the transport's URL, and goes before `transport_url`.
    pub transport_file: Option<PathBuf>,
    /// How long the start waits for servers that do not answer yet.
    pub wait: Duration,
    /// Over how many partitions each context's work is spread. All instances work over one number: where
    /// they are set to another one, it changes as soon as all are, while they run.
    pub partitions: u16,
    /// How long a silent instance keeps its partitions.
    pub lease: Duration,
    /// How often to look for work that no notification announced.
    pub poll: Duration,
    /// How long running work may take at a shutdown.
    pub drain: Duration,
    /// How long messages and idempotency keys are remembered.
    pub inbox_window: Duration,
    /// The settings of all contexts that do not have their own.
    pub all_contexts: ContextSettings,
    /// The settings of single contexts, by their names as variables have them.
    contexts: BTreeMap<String, ContextSettings>,
}

impl Default for Settings {
    /// The embedded defaults; the environment is not read.
    fn default() -> Self {
        Self {
            store_url: "sqlite:mamey.db".to_owned(),
            store_file: None,
            transport_url: "memory:".to_owned(),
            transport_file: None,
            wait: Duration::ZERO,
            partitions: PARTITIONS_DEFAULT,
            lease: LEASE_DEFAULT,
            poll: POLL_DEFAULT,
            drain: DRAIN_DEFAULT,
            inbox_window: Duration::from_hours(14 * 24),
            all_contexts: ContextSettings::default(),
            contexts: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Sets the store's URL, instead of a file with it.
    #[must_use]
    pub fn with_store_url(mut self, store_url: impl Into<String>) -> Self {
        self.store_url = store_url.into();
        self.store_file = None;
        self
    }

    /// Sets the file that holds the store's URL.
    #[must_use]
    pub fn with_store_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.store_file = Some(file.into());
        self
    }

    /// Sets the transport's URL, instead of a file with it.
    #[must_use]
    pub fn with_transport_url(mut self, transport_url: impl Into<String>) -> Self {
        self.transport_url = transport_url.into();
        self.transport_file = None;
        self
    }

    /// Sets the file that holds the transport's URL.
    #[must_use]
    pub fn with_transport_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.transport_file = Some(file.into());
        self
    }

    /// Sets how long the start waits for servers that do not answer yet, up to an hour.
    #[must_use]
    pub const fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The store's URL, as it is set or as its file holds it.
    pub(super) fn store(&self) -> Result<ConnectionUrl> {
        url_of(self.store_file.as_deref(), &self.store_url).with_context(|| "reading `store_file`")
    }

    /// The transport's URL, as it is set or as its file holds it.
    pub(super) fn transport(&self) -> Result<ConnectionUrl> {
        url_of(self.transport_file.as_deref(), &self.transport_url)
            .with_context(|| "reading `transport_file`")
    }

    /// Sets over how many partitions each context's work is spread, 1 to 64.
    #[must_use]
    pub const fn with_partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets how long a silent instance keeps its partitions, up to 10 minutes.
    #[must_use]
    pub const fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how often to look for work that no notification announced, up to a minute.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets how long running work may take at a shutdown, up to an hour.
    #[must_use]
    pub const fn with_drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets how long messages and idempotency keys are remembered, up to 3650 days.
    #[must_use]
    pub const fn with_inbox_window(mut self, inbox_window: Duration) -> Self {
        self.inbox_window = inbox_window;
        self
    }

    /// Sets what holds for all contexts that do not have their own settings.
    #[must_use]
    pub fn with_all_contexts(mut self, settings: ContextSettings) -> Self {
        self.all_contexts = settings.or(self.all_contexts);
        self
    }

    /// Sets what holds for the context of this name, whatever its declaration says.
    ///
    /// ```
    /// use mamey::{ContextSettings, Settings};
    ///
    /// let settings = Settings::from_env()?
    ///     .with_all_contexts(ContextSettings::default().with_lanes_max(32))
    ///     .with_context("orders", ContextSettings::default().with_lanes_max(128));
    /// # Ok::<(), mamey::Error>(())
    /// ```
    #[must_use]
    pub fn with_context(mut self, name: &str, settings: ContextSettings) -> Self {
        let of_context = self.contexts.entry(in_variables(name)).or_default();
        *of_context = settings.or(*of_context);
        self
    }

    /// Refuses values that code has set and that cannot work; variables are checked as they are read.
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=SLOTS).contains(&self.partitions) {
            let partitions = self.partitions;
            return Err(Error::misconfigured(format!(
                "`partitions` of the settings is {partitions}; it must be from 1 to {SLOTS}"
            )));
        }
        check_duration("wait", self.wait, Duration::ZERO, WAIT_MAX)?;
        check_duration("lease", self.lease, SHORTEST, LEASE_MAX)?;
        check_duration("poll", self.poll, SHORTEST, POLL_MAX)?;
        check_duration("drain", self.drain, Duration::ZERO, DRAIN_MAX)?;
        check_duration("inbox_window", self.inbox_window, SHORTEST, INBOX_WINDOW_MAX)
    }
}

fn url_of(file: Option<&Path>, url: &str) -> Result<ConnectionUrl> {
    match file {
        Some(file) => ConnectionUrl::from_file(file),
        None => Ok(url.into()),
    }
}

fn check_duration(name: &str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::misconfigured(format!(
        "`{name}` of the settings is {value:?}; it must be from {least:?} to {most:?}"
    )))
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("store_url", &redact_url(&self.store_url))
            .field("store_file", &self.store_file)
            .field("transport_url", &redact_url(&self.transport_url))
            .field("transport_file", &self.transport_file)
            .field("wait", &self.wait)
            .field("partitions", &self.partitions)
            .field("lease", &self.lease)
            .field("poll", &self.poll)
            .field("drain", &self.drain)
            .field("inbox_window", &self.inbox_window)
            .field("all_contexts", &self.all_contexts)
            .field("contexts", &self.contexts)
            .finish()
    }
}
