//! How a PostgreSQL database is used: what a program sets, and what its URL says.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::Clock;
use mamey_core::{Error, Result, redact_url};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// How a PostgreSQL database is used. Each limit can be set in the URL too, which then wins.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The most connections of this instance; 10 by default. Further calls wait. Two more carry
    /// the wake-up between instances, unless `listen` is off.
    pub connections_max: u32,
    /// How long a call waits for a free connection; 10 seconds by default.
    pub acquire_timeout: Duration,
    /// How long connecting may take; 10 seconds by default.
    pub connect_timeout: Duration,
    /// How long one statement may take before the server ends it; 30 seconds by default. A server
    /// that does not even answer is given 5 seconds more, and then up.
    pub statement_timeout: Duration,
    /// What the sessions are called on the server, unless the URL says so; `mamey` by default.
    pub application_name: String,
    /// How many prepared statements each connection keeps; 100 by default, 0 for none.
    pub statements_cached_max: usize,
    /// Whether instances tell each other of new messages, by NOTIFY and LISTEN; on by default.
    /// Without it each finds the messages of others when it polls.
    pub listen: bool,
    /// Whether a PgBouncer that pools by transaction stands before the server; off by default.
    ///
    /// A session is then nobody's own: no statement stays prepared, nothing is set when a session
    /// begins, nobody listens, and each call is a transaction of its own, which costs it three
    /// more round trips.
    pub pgbouncer: bool,
    /// Where the time of leases and receipts comes from: the database's own clock by default, which
    /// all instances share. Only a test gives another.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections_max: 10,
            acquire_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            application_name: "mamey".to_owned(),
            statements_cached_max: 100,
            listen: true,
            pgbouncer: false,
            clock: None,
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections_max", &self.connections_max)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("application_name", &self.application_name)
            .field("statements_cached_max", &self.statements_cached_max)
            .field("listen", &self.listen)
            .field("pgbouncer", &self.pgbouncer)
            .finish_non_exhaustive()
    }
}

/// What a URL may say after `?` of ours, for the error about what it may not.
const OUR_PARAMETERS: &str = "`connections_max`, `acquire_timeout_ms`, `connect_timeout_ms`, \
    `statement_timeout_ms`, `statements_cached_max`, `listen`, `pgbouncer`";

/// What a URL may say after `?` as everywhere with PostgreSQL.
const USUAL_PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "options",
];

/// Those of them that name a file, unless they hold its content.
const FILE_PARAMETERS: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Read by the driver, which passes over a value that it does not know.
const SSLMODE_VARIABLE: &str = "PGSSLMODE";

impl PostgresOptions {
    /// Joins the options with what the URL says, and says how to connect.
    ///
    /// # Errors
    /// `Misconfigured`, naming what is wrong and what would be right.
    pub(super) fn read(mut self, url: &str) -> Result<(Self, PgConnectOptions)> {
        let unusable = |cause: &dyn fmt::Display| {
            Error::misconfigured(format!("`{}` is not a PostgreSQL URL: {cause}", redact_url(url)))
        };
        // What stands behind a `?` in a password looks like a parameter, and must not be repeated.
        let told = |error: Error| match may_hold_password(url) {
            true => unusable(&"a `?` in the user or the password is written `%3F`, a `@` `%40`"),
            false => error,
        };
        let mut plain = Url::parse(url).map_err(|cause| unusable(&cause))?;
        let mut usual = Vec::new();
        for (name, value) in plain.query_pairs() {
            if !self.takes(&name, &value).map_err(told)? {
                check_usual(&name, &value).map_err(told)?;
                usual.push((name.into_owned(), value.into_owned()));
            }
        }
        plain.set_query(None);
        if !usual.is_empty() {
            plain.query_pairs_mut().extend_pairs(&usual);
        }
        check_environment(std::env::var(SSLMODE_VARIABLE).ok().as_deref())?;
        let connect =
            PgConnectOptions::from_str(plain.as_str()).map_err(|cause| told(unusable(&cause)))?;
        check_verification(&connect, usual.iter().any(|(name, _)| name == "sslrootcert"))?;
        let connect = self.apply(connect)?;
        Ok((self, connect))
    }

    /// Takes a parameter that is one of ours.
    fn takes(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "connections_max" => self.connections_max = number(name, value, 1)?,
            "acquire_timeout_ms" => self.acquire_timeout = milliseconds(name, value)?,
            "connect_timeout_ms" => self.connect_timeout = milliseconds(name, value)?,
            "statement_timeout_ms" => self.statement_timeout = milliseconds(name, value)?,
            "statements_cached_max" => self.statements_cached_max = number(name, value, 0)?,
            "listen" => self.listen = switch(name, value)?,
            "pgbouncer" => self.pgbouncer = switch(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn apply(&mut self, connect: PgConnectOptions) -> Result<PgConnectOptions> {
        for (name, limit) in [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
        ] {
            if limit < Duration::from_millis(1) {
                return Err(Error::misconfigured(format!("`{name}` must be 1 ms or more")));
            }
        }
        self.connections_max = self.connections_max.max(1);
        if self.pgbouncer {
            self.statements_cached_max = 0;
            self.listen = false;
        }
        let connect = match connect.get_application_name() {
            Some(_) => connect,
            None => connect.application_name(&self.application_name),
        };
        // Numbers come in binary, so that no setting shortens them; PgBouncer refuses to pass it on.
        let connect = connect
            .extra_float_digits(None)
            .statement_cache_capacity(self.statements_cached_max)
            .disable_statement_logging();
        if self.pgbouncer {
            return Ok(connect);
        }
        let milliseconds = self.statement_timeout.as_millis().to_string();
        Ok(connect.options([("statement_timeout", milliseconds.as_str())]))
    }
}

/// Whether the parameters may be the rest of a password that was not percent-encoded.
fn may_hold_password(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, parameters)| parameters.contains('@'))
}

fn check_usual(name: &str, value: &str) -> Result<()> {
    if FILE_PARAMETERS.contains(&name) && !value.starts_with("-----BEGIN") {
        // Opened, because only that shows whether it may be read.
        return std::fs::File::open(Path::new(value)).map(drop).map_err(|cause| {
            Error::misconfigured(format!("`{name}` names {value}, which cannot be read: {cause}"))
        });
    }
    if USUAL_PARAMETERS.contains(&name) {
        return Ok(());
    }
    let usual = USUAL_PARAMETERS.map(|name| format!("`{name}`")).join(", ");
    Err(Error::misconfigured(format!(
        "the URL's parameter `{name}` is not known: there are {OUR_PARAMETERS} and, as usual with \
         PostgreSQL, {usual}"
    )))
}

fn check_environment(ssl_mode: Option<&str>) -> Result<()> {
    match ssl_mode.map(PgSslMode::from_str) {
        Some(Err(_)) => Err(Error::misconfigured(format!(
            "{SSLMODE_VARIABLE} is none of `disable`, `allow`, `prefer`, `require`, `verify-ca`, \
             `verify-full`"
        ))),
        _ => Ok(()),
    }
}

/// Who names a certificate wants it checked, and below `verify-ca` nothing is.
fn check_verification(connect: &PgConnectOptions, names_root: bool) -> Result<()> {
    let verifies = matches!(connect.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    if verifies || !names_root {
        return Ok(());
    }
    Err(Error::misconfigured(
        "`sslrootcert` is not looked at without verification: add `sslmode=verify-full`",
    ))
}

fn number<N: FromStr + PartialOrd + fmt::Display + Copy>(
    name: &str,
    value: &str,
    min: N,
) -> Result<N> {
    value.parse().ok().filter(|number| *number >= min).ok_or_else(|| {
        Error::misconfigured(format!("`{name}` is `{value}`: write a whole number from {min}"))
    })
}

fn milliseconds(name: &str, value: &str) -> Result<Duration> {
    // What PostgreSQL takes at most: 24 days.
    let milliseconds = number(name, value, 1_u32)?.min(i32::MAX.unsigned_abs());
    Ok(Duration::from_millis(u64::from(milliseconds)))
}

fn switch(name: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| {
        Error::misconfigured(format!("`{name}` is `{value}`: write `true` or `false`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(PostgresOptions, PgConnectOptions)> {
        PostgresOptions::default().read(url)
    }

    #[test]
    fn a_password_that_was_not_encoded_is_not_taken_for_parameters() {
        for url in ["postgres://app?s3cret@db/shop", "postgres://app?sslmode=s3cret@db/shop"] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains("%3F") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_url_sets_limits_and_leaves_the_rest_to_the_driver() {
        let url = "postgres://me:s3cret@db:5433/shop?connections_max=3&acquire_timeout_ms=100\
                   &connect_timeout_ms=200&statement_timeout_ms=300&statements_cached_max=0\
                   &listen=false&application_name=tills%20%26%20co&sslmode=verify-full";
        let (options, connect) = read(url).unwrap();
        assert_eq!(options.connections_max, 3);
        assert_eq!(options.acquire_timeout, Duration::from_millis(100));
        assert_eq!(options.connect_timeout, Duration::from_millis(200));
        assert_eq!(options.statement_timeout, Duration::from_millis(300));
        assert_eq!(options.statements_cached_max, 0);
        assert!(!options.listen && !options.pgbouncer);
        assert_eq!(connect.get_application_name(), Some("tills & co"));
        assert_eq!(connect.get_host(), "db");
        assert_eq!(connect.get_port(), 5433);
        assert!(matches!(connect.get_ssl_mode(), PgSslMode::VerifyFull));
        assert_eq!(connect.get_options(), Some("-c statement_timeout=300"));
    }

    #[test]
    fn behind_pgbouncer_nothing_belongs_to_a_session() {
        let (options, connect) = read("postgres://me@db/shop?pgbouncer=true").unwrap();
        assert_eq!((options.statements_cached_max, options.listen), (0, false));
        assert_eq!(connect.get_options(), None);
    }

    #[test]
    fn what_a_url_may_not_say_is_refused_by_name_with_the_mend() {
        for (query, named, mend) in [
            ("max_connections=3", "`max_connections`", "`connections_max`"),
            ("connections_max=0", "`connections_max`", "from 1"),
            ("connections_max=many", "`many`", "whole number"),
            ("statement_timeout_ms=0", "`statement_timeout_ms`", "from 1"),
            ("listen=no", "`listen`", "`true` or `false`"),
            ("sslmode=verify", "ssl_mode", "PostgreSQL URL"),
            ("sslmode=verify-full&sslrootcert=/no/ca.pem", "/no/ca.pem", "No such file"),
            ("sslmode=require&sslrootcert=/dev/null", "`sslrootcert`", "verify-full"),
        ] {
            let error = read(&format!("postgres://me:s3cret@db/shop?{query}")).unwrap_err();
            assert_eq!(error.kind(), mamey_core::ErrorKind::Misconfigured);
            let text = format!("{error:?}");
            assert!(text.contains(named) && text.contains(mend), "{query}: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_mistyped_ssl_mode_of_the_environment_is_refused() {
        assert!(check_environment(Some("verify_full")).is_err());
        assert!(check_environment(Some("verify-full")).is_ok() && check_environment(None).is_ok());
    }
}
