//! Reads what a PostgreSQL URL sets, and refuses by name what it may not set.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use mamey_core::{Error, Result, redact_url};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::postgres::options::PostgresOptions;

/// Our own parameters, for the error about an unknown one.
const OUR_PARAMETERS: &str = "`connections_max`, `acquire_timeout_ms`, `connect_timeout_ms`, \
    `statement_timeout_ms`, `statements_cached_max`, `listen`, `pgbouncer`";

/// The parameters that every PostgreSQL client takes.
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

/// The parameters that name a file, or hold its content.
const FILE_PARAMETERS: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// The driver reads it and ignores a value that it does not know.
const SSLMODE_VARIABLE: &str = "PGSSLMODE";

/// Merges what the URL sets into the options, and gives how to connect.
///
/// # Errors
/// `Misconfigured`, naming what is wrong and how to fix it.
pub(crate) fn read(
    mut options: PostgresOptions,
    url: &str,
) -> Result<(PostgresOptions, PgConnectOptions)> {
    let unusable = |cause: &dyn fmt::Display| {
        Error::misconfigured(format!("`{}` is not a PostgreSQL URL: {cause}", redact_url(url)))
    };
    // The part of a password behind a `?` looks like a parameter, and no error may repeat it.
    let without_secret = |error: Error| match may_hold_password(url) {
        true => unusable(&"a `?` in the user or the password is written `%3F`, a `@` `%40`"),
        false => error,
    };
    let mut plain = Url::parse(url).map_err(|cause| unusable(&cause))?;
    let mut usual = Vec::new();
    for (name, value) in plain.query_pairs() {
        if !set(&mut options, &name, &value).map_err(without_secret)? {
            check_usual(&name, &value).map_err(without_secret)?;
            usual.push((name.into_owned(), value.into_owned()));
        }
    }
    plain.set_query(None);
    if !usual.is_empty() {
        plain.query_pairs_mut().extend_pairs(&usual);
    }
    check_environment(std::env::var(SSLMODE_VARIABLE).ok().as_deref())?;
    let connect = PgConnectOptions::from_str(plain.as_str())
        .map_err(|cause| without_secret(unusable(&cause)))?;
    check_verification(&connect, usual.iter().any(|(name, _)| name == "sslrootcert"))?;
    let connect = apply(&mut options, connect)?;
    Ok((options, connect))
}

/// Sets a parameter that is one of ours; false for any other.
fn set(options: &mut PostgresOptions, name: &str, value: &str) -> Result<bool> {
    match name {
        "connections_max" => options.connections_max = number(name, value, 1)?,
        "acquire_timeout_ms" => options.acquire_timeout = milliseconds(name, value)?,
        "connect_timeout_ms" => options.connect_timeout = milliseconds(name, value)?,
        "statement_timeout_ms" => options.statement_timeout = milliseconds(name, value)?,
        "statements_cached_max" => options.statements_cached_max = number(name, value, 0)?,
        "listen" => options.listen = switch(name, value)?,
        "pgbouncer" => options.pgbouncer = switch(name, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Checks the options and hands the driver its part of them.
fn apply(options: &mut PostgresOptions, connect: PgConnectOptions) -> Result<PgConnectOptions> {
    for (name, limit) in [
        ("acquire_timeout", options.acquire_timeout),
        ("connect_timeout", options.connect_timeout),
        ("statement_timeout", options.statement_timeout),
    ] {
        if limit < Duration::from_millis(1) {
            return Err(Error::misconfigured(format!("`{name}` must be 1 ms or more")));
        }
    }
    options.connections_max = options.connections_max.max(1);
    if options.pgbouncer {
        options.statements_cached_max = 0;
        options.listen = false;
    }
    let connect = match connect.get_application_name() {
        Some(_) => connect,
        None => connect.application_name(&options.application_name),
    };
    // Numbers arrive in binary, so no setting can shorten them, and PgBouncer refuses this one.
    let connect = connect
        .extra_float_digits(None)
        .statement_cache_capacity(options.statements_cached_max)
        .disable_statement_logging();
    if options.pgbouncer {
        return Ok(connect);
    }
    let milliseconds = options.statement_timeout.as_millis().to_string();
    Ok(connect.options([("statement_timeout", milliseconds.as_str())]))
}

/// Whether the parameters may be the rest of a password that was not percent-encoded.
fn may_hold_password(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, parameters)| parameters.contains('@'))
}

fn check_usual(name: &str, value: &str) -> Result<()> {
    if FILE_PARAMETERS.contains(&name) && !value.starts_with("-----BEGIN") {
        // Only opening it shows whether it may be read.
        return std::fs::File::open(Path::new(value)).map(drop).map_err(|cause| {
            Error::misconfigured(format!("`{name}` names {value}, which cannot be read: {cause}"))
        });
    }
    if USUAL_PARAMETERS.contains(&name) {
        return Ok(());
    }
    let usual = USUAL_PARAMETERS.map(|name| format!("`{name}`")).join(", ");
    Err(Error::misconfigured(format!(
        "the URL's parameter `{name}` is not known: use one of {OUR_PARAMETERS}, or one that every \
         PostgreSQL client takes: {usual}"
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

/// Whoever names a certificate wants it checked, and below `verify-ca` nothing is checked.
fn check_verification(connect: &PgConnectOptions, names_root: bool) -> Result<()> {
    let verifies = matches!(connect.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    if verifies || !names_root {
        return Ok(());
    }
    Err(Error::misconfigured(
        "`sslrootcert` has no effect without verification: add `sslmode=verify-full`",
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
    // PostgreSQL's own maximum: 24 days.
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
        super::read(PostgresOptions::default(), url)
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
    fn what_a_url_may_not_set_is_refused_by_name_with_the_fix() {
        for (query, named, fix) in [
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
            assert!(text.contains(named) && text.contains(fix), "{query}: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_mistyped_ssl_mode_of_the_environment_is_refused() {
        assert!(check_environment(Some("verify_full")).is_err());
        assert!(check_environment(Some("verify-full")).is_ok() && check_environment(None).is_ok());
    }
}
