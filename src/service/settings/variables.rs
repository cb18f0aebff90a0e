//! Reads the settings from environment variables, and refuses by name what they may not hold.

use std::collections::BTreeSet;
use std::time::Duration;

use mamey_core::message::SLOTS;
use mamey_core::{Error, Result};

use super::Settings;
use super::contexts::{PREFIX, SETTINGS, named};
use super::value::{millis, non_empty, number};

pub(super) const STORE: &str = "MAMEY_STORE";
pub(super) const STORE_FILE: &str = "MAMEY_STORE_FILE";
pub(super) const TRANSPORT: &str = "MAMEY_TRANSPORT";
pub(super) const TRANSPORT_FILE: &str = "MAMEY_TRANSPORT_FILE";
pub(super) const WAIT_MS: &str = "MAMEY_WAIT_MS";
pub(super) const PARTITIONS: &str = "MAMEY_PARTITIONS";
pub(super) const LEASE_MS: &str = "MAMEY_LEASE_MS";
pub(super) const POLL_MS: &str = "MAMEY_POLL_MS";
pub(super) const DRAIN_MS: &str = "MAMEY_DRAIN_MS";
pub(super) const INBOX_DAYS: &str = "MAMEY_INBOX_DAYS";

const KNOWN: [&str; 10] = [
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
];

/// Variables that the tests of Mamey itself use, by their beginnings.
const FOREIGN_PREFIXES: [&str; 7] = [
    "MAMEY_TEST_",
    "MAMEY_REQUIRE_",
    "MAMEY_SERVERS_",
    "MAMEY_CRASH_",
    "MAMEY_REHEARSAL_",
    "MAMEY_FAILPOINT",
    "MAMEY_INJECT_",
];

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
                Err(_) if KNOWN.contains(&name.as_str()) || named(&name).is_some() => {
                    return Err(not_utf8(&name));
                }
                Err(_) => {}
            }
        }
        Self::from_variables(variables)
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
            if name.starts_with(PREFIX) {
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
            _ => return self.set_of_contexts(name, value),
        }
        Ok(())
    }

    /// Sets what all contexts have, or one of them.
    fn set_of_contexts(&mut self, name: &str, value: &str) -> Result<()> {
        let Some((context, setting)) = named(name) else {
            warn_unknown(name);
            return Ok(());
        };
        let settings = match context {
            Some(context) => self.contexts.entry(context.to_owned()).or_default(),
            None => &mut self.all_contexts,
        };
        setting.read(settings, name, value)
    }
}

/// Only warns: a later build may know the variable, and an earlier one must still start. Without the
/// warning, a typo would silently select the default store.
fn warn_unknown(name: &str) {
    if FOREIGN_PREFIXES.iter().all(|prefix| !name.starts_with(prefix)) {
        let known = KNOWN.join(", ");
        let of_contexts: Vec<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
        let of_contexts = of_contexts.join(", ");
        tracing::warn!(
            "this build does not know the variable {name}; it knows {known}; and {of_contexts}, each \
             after {PREFIX} or, for one context, after {PREFIX}<CONTEXT>_"
        );
    }
}

fn not_utf8(name: &str) -> Error {
    Error::misconfigured(format!("{name} is not UTF-8: write it as UTF-8 text, or unset it"))
}
