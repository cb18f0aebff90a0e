//! What a service is told from outside: environment variables, each with an embedded default.

use std::fmt;
use std::time::Duration;

use mamey_core::message::SLOTS;
use mamey_core::{Error, Result, redact_url};

const STORE: &str = "MAMEY_STORE";
const TRANSPORT: &str = "MAMEY_TRANSPORT";
const PARTITIONS: &str = "MAMEY_PARTITIONS";
const LEASE_MS: &str = "MAMEY_LEASE_MS";
const POLL_MS: &str = "MAMEY_POLL_MS";
const DRAIN_MS: &str = "MAMEY_DRAIN_MS";
const INBOX_DAYS: &str = "MAMEY_INBOX_DAYS";

const KNOWN: [&str; 7] = [STORE, TRANSPORT, PARTITIONS, LEASE_MS, POLL_MS, DRAIN_MS, INBOX_DAYS];

const SHORTEST: Duration = Duration::from_millis(1);
const LEASE_MAX: Duration = Duration::from_mins(10);
const POLL_MAX: Duration = Duration::from_mins(1);
const DRAIN_MAX: Duration = Duration::from_hours(1);
const INBOX_WINDOW_MAX: Duration = Duration::from_hours(24 * 3650);

/// Prefixes of variables that belong to the tests of Mamey itself.
const FOREIGN_PREFIXES: [&str; 4] =
    ["MAMEY_TEST_", "MAMEY_REQUIRE_", "MAMEY_SERVERS_", "MAMEY_CRASH_"];

/// What a service is told from outside.
///
/// | Variable | Meaning | Default |
/// |---|---|---|
/// | `MAMEY_STORE` | the database's URL | `sqlite:mamey.db` |
/// | `MAMEY_TRANSPORT` | the transport's URL | `memory:` |
/// | `MAMEY_PARTITIONS` | over how many partitions each context's work is spread, 1 to 64 | 8 |
/// | `MAMEY_LEASE_MS` | how long a silent instance keeps its partitions | 15000 |
/// | `MAMEY_POLL_MS` | how often to look for work that nobody announced | 1000 |
/// | `MAMEY_DRAIN_MS` | how long running work may take at a shutdown | 30000 |
/// | `MAMEY_INBOX_DAYS` | how long messages and idempotency keys are remembered | 14 |
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The database's URL.
    pub store_url: String,
    /// The transport's URL.
    pub transport_url: String,
    /// Over how many partitions each context's work is spread. All instances must agree.
    pub partitions: u16,
    /// How long a silent instance keeps its partitions.
    pub lease: Duration,
    /// How often to look for work that nobody announced.
    pub poll: Duration,
    /// How long running work may take at a shutdown.
    pub drain: Duration,
    /// How long messages and idempotency keys are remembered.
    pub inbox_window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store_url: "sqlite:mamey.db".to_owned(),
            transport_url: "memory:".to_owned(),
            partitions: 8,
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            inbox_window: Duration::from_hours(14 * 24),
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
                // A path of which a part was replaced would silently be another database.
                Err(_) if KNOWN.contains(&name.as_str()) => return Err(not_utf8(&name)),
                Err(_) => {}
            }
        }
        Self::from_variables(variables)
    }

    /// Refuses what code has set and cannot work; variables are checked as they are read.
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=SLOTS).contains(&self.partitions) {
            let partitions = self.partitions;
            return Err(Error::misconfigured(format!(
                "`partitions` of the settings is {partitions}; it must be from 1 to {SLOTS}"
            )));
        }
        check_duration("lease", self.lease, SHORTEST, LEASE_MAX)?;
        check_duration("poll", self.poll, SHORTEST, POLL_MAX)?;
        check_duration("drain", self.drain, Duration::ZERO, DRAIN_MAX)?;
        check_duration("inbox_window", self.inbox_window, SHORTEST, INBOX_WINDOW_MAX)
    }

    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in variables {
            if name.starts_with("MAMEY_") {
                settings.set(&name, value.trim())?;
            }
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            STORE => self.store_url = non_empty(name, value)?,
            TRANSPORT => self.transport_url = non_empty(name, value)?,
            PARTITIONS => self.partitions = number(name, value, 1..=u64::from(SLOTS))? as u16,
            LEASE_MS => self.lease = millis(name, value, 1000..=600_000)?,
            POLL_MS => self.poll = millis(name, value, 10..=60_000)?,
            DRAIN_MS => self.drain = millis(name, value, 0..=3_600_000)?,
            INBOX_DAYS => {
                self.inbox_window = Duration::from_hours(24 * number(name, value, 1..=3650)?);
            }
            _ => warn_unknown(name),
        }
        Ok(())
    }
}

/// A later build may know the variable, so an old one must still start; but a typo that silently
/// selects a default store would be worse than a line in the log.
fn warn_unknown(name: &str) {
    if FOREIGN_PREFIXES.iter().all(|prefix| !name.starts_with(prefix)) {
        let known = KNOWN.join(", ");
        tracing::warn!("the variable {name} means nothing to this build; it knows {known}");
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
        // Variables get mixed up: here may stand a URL with its password.
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
            .field("transport_url", &redact_url(&self.transport_url))
            .field("partitions", &self.partitions)
            .field("lease", &self.lease)
            .field("poll", &self.poll)
            .field("drain", &self.drain)
            .field("inbox_window", &self.inbox_window)
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
    fn each_variable_is_read() {
        assert_eq!(read(STORE, "sqlite:x.db").unwrap().store_url, "sqlite:x.db");
        assert_eq!(read(PARTITIONS, "64").unwrap().partitions, 64);
        assert_eq!(read(LEASE_MS, "2000").unwrap().lease, Duration::from_secs(2));
        assert_eq!(read(DRAIN_MS, "0").unwrap().drain, Duration::ZERO);
        assert_eq!(read(INBOX_DAYS, "1").unwrap().inbox_window, Duration::from_hours(24));
    }

    #[test]
    fn bad_values_name_the_variable_and_what_it_may_hold() {
        for (name, value, mend) in [
            (STORE, "", "unset it"),
            (PARTITIONS, "0", "1 to 64"),
            (PARTITIONS, "65", "1 to 64"),
            (PARTITIONS, "eight", "1 to 64"),
            (LEASE_MS, "15s", "1000 to 600000"),
            (POLL_MS, "-1", "10 to 60000"),
            (DRAIN_MS, "1e9", "0 to 3600000"),
            (INBOX_DAYS, "99999", "1 to 3650"),
        ] {
            let error = read(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(mend), "{error}");
        }
    }

    #[test]
    fn secrets_of_urls_are_not_printed() {
        let mixed_up = read(PARTITIONS, "postgres://app:s3cret@db/orders").unwrap_err();
        assert!(!mixed_up.to_string().contains("s3cret"), "{mixed_up}");
        let settings = read(STORE, "postgres://app:s3cret@db/orders").unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
