//! The settings of a service: environment variables, each with an embedded default.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mamey_core::connection::ConnectionUrl;
use mamey_core::message::SLOTS;
use mamey_core::{Error, Result, ResultExt, redact_url};
use mamey_messaging::{
    DRAIN_DEFAULT, LEASE_DEFAULT, PARTITIONS_DEFAULT, POLL_DEFAULT, UNROUTABLE_DEFAULT,
};

const STORE: &str = "MAMEY_STORE";
const STORE_FILE: &str = "MAMEY_STORE_FILE";
const TRANSPORT: &str = "MAMEY_TRANSPORT";
const TRANSPORT_FILE: &str = "MAMEY_TRANSPORT_FILE";
const WAIT_MS: &str = "MAMEY_WAIT_MS";
const PARTITIONS: &str = "MAMEY_PARTITIONS";
const LEASE_MS: &str = "MAMEY_LEASE_MS";
const POLL_MS: &str = "MAMEY_POLL_MS";
const DRAIN_MS: &str = "MAMEY_DRAIN_MS";
const INBOX_DAYS: &str = "MAMEY_INBOX_DAYS";
const UNROUTABLE_MS: &str = "MAMEY_UNROUTABLE_MS";

const KNOWN: [&str; 11] = [
    STORE,
    STORE_FILE,
    TRANSPORT,
    TRANSPORT_FILE,
    WAIT_MS,
    PARTITIONS,
    LEASE_MS,
    POLL_MS,
    DRAIN_MS,
    INBOX_DAYS,
    UNROUTABLE_MS,
];

const SHORTEST: Duration = Duration::from_millis(1);
const LEASE_MAX: Duration = Duration::from_mins(10);
const POLL_MAX: Duration = Duration::from_mins(1);
const WAIT_MAX: Duration = Duration::from_hours(1);
const DRAIN_MAX: Duration = Duration::from_hours(1);
const INBOX_WINDOW_MAX: Duration = Duration::from_hours(24 * 3650);
const UNROUTABLE_MAX: Duration = Duration::from_hours(24 * 7);

/// Variables that the tests of Mamey itself use, by their beginnings.
const FOREIGN_PREFIXES: [&str; 6] = [
    "MAMEY_TEST_",
    "MAMEY_REQUIRE_",
    "MAMEY_SERVERS_",
    "MAMEY_CRASH_",
    "MAMEY_FAILPOINT",
    "MAMEY_INJECT_",
];

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
/// | `MAMEY_UNROUTABLE_MS` | `unroutable` | how long a message without a route is tried, before it is given up as undelivered | 7200000 |
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
#[derive(Clone, PartialEq, Eq)]
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
    /// Over how many partitions each context's work is spread. All instances must agree.
    pub partitions: u16,
    /// How long a silent instance keeps its partitions.
    pub lease: Duration,
    /// How often to look for work that no notification announced.
    pub poll: Duration,
    /// How long running work may take at a shutdown.
    pub drain: Duration,
    /// How long messages and idempotency keys are remembered.
    pub inbox_window: Duration,
    /// How long a message without a route is tried before it is given up:
    /// [`RunningService::undelivered`](crate::RunningService::undelivered) lists it then. So is a record
    /// of the outbox that no build can read.
    pub unroutable: Duration,
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
            unroutable: UNROUTABLE_DEFAULT,
        }
    }
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// `Misconfigured`, naming the variable, what it holds and what it may hold.
    pub fn from_env() -> Result<Self> {
        let mut variables = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                // A path with replaced bytes would silently be another database.
                Err(_) if KNOWN.contains(&name.as_str()) => return Err(not_utf8(&name)),
                Err(_) => {}
            }
        }
        Self::from_variables(variables)
    }

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

    /// Sets how long a message without a route is tried before it is given up, up to a week.
    #[must_use]
    pub const fn with_unroutable(mut self, unroutable: Duration) -> Self {
        self.unroutable = unroutable;
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
        check_duration("unroutable", self.unroutable, SHORTEST, UNROUTABLE_MAX)?;
        check_duration("inbox_window", self.inbox_window, SHORTEST, INBOX_WINDOW_MAX)
    }

    /// Reads the given variables instead of the environment. Variables that do not begin with `MAMEY_`
    /// are ignored.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut settings = Self::default();
        let mut seen = BTreeSet::new();
        for (name, value) in variables {
            if name.starts_with("MAMEY_") {
                settings.set(&name, value.trim())?;
                seen.insert(name);
            }
        }
        for (url, file) in [(STORE, STORE_FILE), (TRANSPORT, TRANSPORT_FILE)] {
            if seen.contains(url) && seen.contains(file) {
                return Err(Error::misconfigured(format!(
                    "{url} and {file} are both set: unset one, since each says where to connect"
                )));
            }
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            STORE => self.store_url = non_empty(name, value)?,
            STORE_FILE => self.store_file = Some(non_empty(name, value)?.into()),
            TRANSPORT => self.transport_url = non_empty(name, value)?,
            TRANSPORT_FILE => self.transport_file = Some(non_empty(name, value)?.into()),
            WAIT_MS => self.wait = millis(name, value, 0..=3_600_000)?,
            PARTITIONS => self.partitions = number(name, value, 1..=u64::from(SLOTS))? as u16,
            LEASE_MS => self.lease = millis(name, value, 1000..=600_000)?,
            POLL_MS => self.poll = millis(name, value, 10..=60_000)?,
            DRAIN_MS => self.drain = millis(name, value, 0..=3_600_000)?,
            INBOX_DAYS => {
                self.inbox_window = Duration::from_hours(24 * number(name, value, 1..=3650)?);
            }
            UNROUTABLE_MS => self.unroutable = millis(name, value, 1..=604_800_000)?,
            _ => warn_unknown(name),
        }
        Ok(())
    }
}

/// Only warns: a later build may know the variable, and an earlier one must still start. Without the
/// warning, a typo would silently select the default store.
fn warn_unknown(name: &str) {
    if FOREIGN_PREFIXES.iter().all(|prefix| !name.starts_with(prefix)) {
        let known = KNOWN.join(", ");
        tracing::warn!("this build does not know the variable {name}; it knows {known}");
    }
}

fn url_of(file: Option<&Path>, url: &str) -> Result<ConnectionUrl> {
    match file {
        Some(file) => ConnectionUrl::from_file(file),
        None => Ok(url.into()),
    }
}

fn not_utf8(name: &str) -> Error {
    Error::misconfigured(format!("{name} is not UTF-8: write it as UTF-8 text, or unset it"))
}

fn check_duration(name: &str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::misconfigured(format!(
        "`{name}` of the settings is {value:?}; it must be from {least:?} to {most:?}"
    )))
}

fn non_empty(name: &str, value: &str) -> Result<String> {
    if value.is_empty() {
        return Err(Error::misconfigured(format!("{name} is empty; unset it to use the default")));
    }
    Ok(value.to_owned())
}

fn millis(name: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<Duration> {
    number(name, value, range).map(Duration::from_millis)
}

fn number(name: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64> {
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        // Variables get mixed up: the value may be a URL with a password.
        let value = redact_url(value);
        Error::misconfigured(format!(
            "{name} is `{value}`; it must be a whole number from {least} to {most}"
        ))
    })
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
            .field("unroutable", &self.unroutable)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings> {
        Settings::from_variables([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn everything_has_an_embedded_default() {
        assert_eq!(Settings::from_variables([]).unwrap(), Settings::default());
    }

    #[test]
    fn the_defaults_are_those_that_the_documents_name() {
        let Settings { wait, partitions, lease, poll, drain, inbox_window, unroutable, .. } =
            Settings::default();
        let readme = include_str!("../../README.md");
        for (name, value) in [
            (WAIT_MS, wait.as_millis()),
            (PARTITIONS, u128::from(partitions)),
            (LEASE_MS, lease.as_millis()),
            (POLL_MS, poll.as_millis()),
            (DRAIN_MS, drain.as_millis()),
            (INBOX_DAYS, u128::from(inbox_window.as_secs() / 86_400)),
            (UNROUTABLE_MS, unroutable.as_millis()),
        ] {
            let row =
                readme.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
            assert!(row.ends_with(&format!("| {value} |")), "{row}");
        }
    }

    #[test]
    fn each_variable_is_read() {
        assert_eq!(read(STORE, "sqlite:x.db").unwrap().store_url, "sqlite:x.db");
        let file = read(STORE_FILE, "/run/secrets/store").unwrap().store_file;
        assert_eq!(file.unwrap(), Path::new("/run/secrets/store"));
        assert_eq!(read(WAIT_MS, "30000").unwrap().wait, Duration::from_secs(30));
        assert_eq!(read(PARTITIONS, "64").unwrap().partitions, 64);
        assert_eq!(read(LEASE_MS, "2000").unwrap().lease, Duration::from_secs(2));
        assert_eq!(read(DRAIN_MS, "0").unwrap().drain, Duration::ZERO);
        assert_eq!(read(INBOX_DAYS, "1").unwrap().inbox_window, Duration::from_hours(24));
        assert_eq!(read(UNROUTABLE_MS, "5").unwrap().unroutable, Duration::from_millis(5));
    }

    #[test]
    fn bad_values_name_the_variable_and_what_it_may_hold() {
        for (name, value, fix) in [
            (STORE, "", "unset it"),
            (STORE_FILE, "", "unset it"),
            (TRANSPORT_FILE, " ", "unset it"),
            (WAIT_MS, "-1", "0 to 3600000"),
            (PARTITIONS, "0", "1 to 64"),
            (PARTITIONS, "65", "1 to 64"),
            (PARTITIONS, "eight", "1 to 64"),
            (LEASE_MS, "15s", "1000 to 600000"),
            (POLL_MS, "-1", "10 to 60000"),
            (DRAIN_MS, "1e9", "0 to 3600000"),
            (INBOX_DAYS, "99999", "1 to 3650"),
            (UNROUTABLE_MS, "0", "1 to 604800000"),
        ] {
            let error = read(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(fix), "{error}");
        }
    }

    #[test]
    fn a_url_and_its_file_are_not_set_together() {
        for (url, file) in [(STORE, STORE_FILE), (TRANSPORT, TRANSPORT_FILE)] {
            let both = [(url, "memory:"), (file, "/run/secrets/url")];
            let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let error = Settings::from_variables(both).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains(file), "{error}");
        }
    }

    #[test]
    fn each_setting_can_be_set_in_code() {
        let settings = Settings::default()
            .with_store_url("memory:")
            .with_transport_url("amqp://localhost")
            .with_wait(Duration::from_secs(2))
            .with_partitions(2)
            .with_lease(Duration::from_secs(3))
            .with_poll(Duration::from_secs(4))
            .with_drain(Duration::from_secs(5))
            .with_inbox_window(Duration::from_hours(6))
            .with_unroutable(Duration::from_secs(7));
        assert_eq!(
            (&*settings.store_url, &*settings.transport_url),
            ("memory:", "amqp://localhost")
        );
        assert_eq!((settings.wait.as_secs(), settings.partitions), (2, 2));
        assert_eq!(settings.lease.as_secs(), 3);
        assert_eq!((settings.poll.as_secs(), settings.drain.as_secs()), (4, 5));
        assert_eq!(settings.inbox_window, Duration::from_hours(6));
        assert_eq!(settings.unroutable, Duration::from_secs(7));
        settings.check().unwrap();
    }

    #[test]
    fn secrets_of_urls_are_not_printed() {
        let mixed_up = read(PARTITIONS, "postgres://app:s3cret@db/orders").unwrap_err();
        assert!(!mixed_up.to_string().contains("s3cret"), "{mixed_up}");
        let settings = read(STORE, "postgres://app:s3cret@db/orders").unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
