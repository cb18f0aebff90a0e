//! Reads what a PostgreSQL URL sets, and refuses by name what it may not set.

mod hosts;
mod parameters;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mamey_core::connection::CredentialSource;
use mamey_core::{Error, Result, query_may_hold_password, redact_url};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::servers::Servers;
use crate::postgres::connection::session;
use crate::postgres::options::PostgresOptions;
use hosts::{Place, Split, usual_place};
use parameters::{OUR_PARAMETERS, Parameters, check_times};

/// The driver reads it and ignores a value that it does not know.
const SSLMODE_VARIABLE: &str = "PGSSLMODE";

/// Merges what the URL sets into the options, and gives how to connect.
///
/// # Errors
/// `Misconfigured`, naming what is wrong and how to fix it.
pub(crate) fn read(options: PostgresOptions, url: &str) -> Result<(PostgresOptions, Servers)> {
    let (options, read) = read_all(options, url)?;
    if !read.ignored.is_empty() {
        let parameters = read.ignored.join(", ");
        tracing::warn!(
            parameters,
            "the URL of PostgreSQL has parameters that this build does not know; it works without \
             them; its own are {OUR_PARAMETERS}"
        );
    }
    let Read { servers, must_write, credentials, .. } = read;
    let limit = options.connect_timeout;
    Ok((options, Servers::new(servers, must_write, credentials, limit)))
}

/// What a URL says beside the options.
struct Read {
    servers: Vec<PgConnectOptions>,
    must_write: bool,
    credentials: Option<Arc<dyn CredentialSource>>,
    ignored: Vec<String>,
}

fn read_all(mut options: PostgresOptions, url: &str) -> Result<(PostgresOptions, Read)> {
    let unusable = |cause: &dyn fmt::Display| {
        Error::misconfigured(format!("`{}` is not a PostgreSQL URL: {cause}", redact_url(url)))
    };
    // The part of a password behind a `?` looks like a parameter, and no error may repeat it.
    let without_secret = |error: Error| match query_may_hold_password(url) {
        true => unusable(&"a `?` in the user or the password is written `%3F`, a `@` `%40`"),
        false => error,
    };
    let split = Split::of(url);
    let mut plain = Url::parse(&split.url).map_err(|cause| unusable(&cause))?;
    let mut parameters = Parameters::default();
    for (name, value) in plain.query_pairs() {
        parameters.take(&mut options, &name, &value).map_err(without_secret)?;
    }
    if !parameters.ignored.is_empty() && query_may_hold_password(url) {
        return Err(without_secret(unusable(&"it holds an unknown parameter")));
    }
    let places = split.places(parameters.host.as_deref(), parameters.port.as_deref());
    let places = places.map_err(without_secret)?;
    plain.set_query(None);
    if !parameters.usual.is_empty() {
        plain.query_pairs_mut().extend_pairs(&parameters.usual);
    }
    check_environment(std::env::var(SSLMODE_VARIABLE).ok().as_deref())?;
    check_options(&mut options)?;
    let servers = connect_options(&plain, &places)
        .map_err(|cause| without_secret(unusable(&cause)))?
        .into_iter()
        .map(|connect| {
            check_verification(&connect, parameters.names_authority)?;
            Ok(apply(&options, connect))
        })
        .collect::<Result<_>>()?;
    let file = parameters.password_file.map(|file| Arc::new(file) as Arc<dyn CredentialSource>);
    let credentials = file.or_else(|| options.credentials.clone());
    let (must_write, ignored) = (parameters.must_write, parameters.ignored);
    Ok((options, Read { servers, must_write, credentials, ignored }))
}

/// How to connect to each place, or to where the driver connects by itself.
fn connect_options(plain: &Url, places: &[Place]) -> Result<Vec<PgConnectOptions>, sqlx::Error> {
    if places.is_empty() {
        return Ok(vec![usual_place(PgConnectOptions::from_str(plain.as_str())?)]);
    }
    let each = places.iter().map(|place| {
        let mut url = plain.clone();
        place.put_into(&mut url);
        Ok(place.apply(PgConnectOptions::from_str(url.as_str())?))
    });
    each.collect()
}

fn check_options(options: &mut PostgresOptions) -> Result<()> {
    check_times(options)?;
    options.connections_max = options.connections_max.max(1);
    if options.pgbouncer {
        options.statements_cached_max = 0;
        options.listen = false;
    }
    Ok(())
}

/// Hands the driver its part of the options.
fn apply(options: &PostgresOptions, connect: PgConnectOptions) -> PgConnectOptions {
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
        return connect;
    }
    connect.options(session::at_the_start(options))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(url: &str) -> Result<(PostgresOptions, PgConnectOptions)> {
        let (options, mut read) = read_all(PostgresOptions::default(), url)?;
        assert_eq!(read.servers.len(), 1);
        Ok((options, read.servers.remove(0)))
    }

    fn places(url: &str) -> Vec<(String, u16)> {
        let (_, read) = read_all(PostgresOptions::default(), url).unwrap();
        let place = |it: &PgConnectOptions| match it.get_socket() {
            Some(folder) => (folder.display().to_string(), it.get_port()),
            None => (it.get_host().to_owned(), it.get_port()),
        };
        read.servers.iter().map(place).collect()
    }

    #[test]
    fn hosts_are_those_that_were_written() {
        for (url, expected) in [
            ("postgres://u:p@db/shop", vec![("db", 5432)]),
            ("postgres://u:p@10.0.0.1:5433/shop", vec![("10.0.0.1", 5433)]),
            ("postgres://u:p@[2001:db8::5]:5433/shop", vec![("2001:db8::5", 5433)]),
            ("postgres://u:p@[::1]/shop?sslmode=verify-full", vec![("::1", 5432)]),
            ("postgres://u:p@one:5433,two/shop", vec![("one", 5433), ("two", 5432)]),
            (
                "postgres://one,[::1]:6000,two/shop",
                vec![("one", 5432), ("::1", 6000), ("two", 5432)],
            ),
            ("postgres://u:p@/shop?host=/cloudsql/p:r:i", vec![("/cloudsql/p:r:i", 5432)]),
            ("postgres://u:p@/shop?host=db&port=6000", vec![("db", 6000)]),
            ("postgres:///shop?host=one,two&port=1,2", vec![("one", 1), ("two", 2)]),
            ("postgres:///shop?host=one,two&port=6000", vec![("one", 6000), ("two", 6000)]),
            ("postgres://%2Fvar%2Frun/shop", vec![("/var/run", 5432)]),
            ("postgres://u@%2Fvar%2Frun/shop", vec![("/var/run", 5432)]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(host, port)| (host.to_owned(), port)).collect();
            assert_eq!(places(url), expected, "{url}");
        }
    }

    #[test]
    fn the_login_and_the_database_are_those_of_each_server() {
        let url = "postgres://app:s%40cret@one,two/shop?application_name=tills";
        let (_, read) = read_all(PostgresOptions::default(), url).unwrap();
        for server in &read.servers {
            assert_eq!((server.get_username(), server.get_database()), ("app", Some("shop")));
            assert_eq!(server.get_application_name(), Some("tills"));
        }
    }

    #[test]
    fn what_other_clients_write_is_understood_or_left_out_by_name() {
        let url = "postgres://u:p@db/shop?sslmode=require&channel_binding=require\
                   &connect_timeout=7&target_session_attrs=read-write&pgbouncer=true\
                   &connection_limit=1&pool_timeout=3&schema=public&keepalives_idle=30\
                   &gssencmode=disable&sslcompression=0&ssl_min_protocol_version=TLSv1.2";
        let (options, read) = read_all(PostgresOptions::default(), url).unwrap();
        assert_eq!(options.connect_timeout, Duration::from_secs(7));
        assert_eq!(options.acquire_timeout, Duration::from_secs(3));
        assert_eq!((options.connections_max, options.pgbouncer), (1, true));
        assert!(read.must_write);
        assert_eq!(read.ignored, ["channel_binding", "schema", "keepalives_idle"]);
        assert!(matches!(read.servers[0].get_ssl_mode(), PgSslMode::Require));
    }

    #[test]
    fn security_that_other_clients_ask_for_is_had() {
        for (query, mode) in [
            ("ssl=true", PgSslMode::Require),
            ("ssl=true&sslmode=verify-full", PgSslMode::VerifyFull),
            ("sslmode=verify-full&ssl=true", PgSslMode::VerifyFull),
            ("sslrootcert=system", PgSslMode::VerifyFull),
            ("sslaccept=strict", PgSslMode::VerifyFull),
            ("ssl-mode=require", PgSslMode::Require),
        ] {
            let (_, connect) = read(&format!("postgres://u:p@db/shop?{query}")).unwrap();
            let (had, expected) = (connect.get_ssl_mode(), mode);
            assert_eq!(format!("{had:?}"), format!("{expected:?}"), "{query}");
        }
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
        let set = connect.get_options().unwrap();
        assert!(set.ends_with("-c statement_timeout=300"), "{set}");
        assert!(set.contains(r"-c default_transaction_isolation=read\ committed"), "{set}");
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
            ("sslcrl=/x", "`sslcrl`", "remove it"),
            ("sslnegotiation=direct", "`sslnegotiation`", "remove it"),
            ("ssl_min_protocol_version=TLSv1.3", "`ssl_min_protocol_version`", "remove it"),
            ("gssencmode=require", "`gssencmode`", "remove it"),
            ("require_auth=scram-sha-256", "`require_auth`", "remove it"),
            ("requirepeer=postgres", "`requirepeer`", "remove it"),
            ("target_session_attrs=standby", "`target_session_attrs`", "`read-write`"),
            ("password_file=/no/secret", "/no/secret", "cannot be read"),
            ("connect_timeout=soon", "`connect_timeout`", "whole number"),
            ("statement_timeout_ms=4294967295", "`statement_timeout`", "2147483647"),
            ("host=a,b&port=1,2,3", "2 hosts", "one for each"),
            ("host=a&port=70000", "port", "65535"),
            ("connections_max=0", "`connections_max`", "from 1"),
            ("connections_max=many", "`many`", "whole number"),
            ("statement_timeout_ms=0", "`statement_timeout_ms`", "from 1"),
            ("listen=no", "`listen`", "`true` or `false`"),
            ("sslmode=verify", "ssl_mode", "PostgreSQL URL"),
            ("sslmode=verify-full&sslrootcert=/no/ca.pem", "/no/ca.pem", "No such file"),
            ("sslmode=require&sslrootcert=/dev/null", "`sslrootcert`", "verify-full"),
            ("sslmode=require&sslrootcert=system", "`sslrootcert`", "verify-full"),
        ] {
            let error = read(&format!("postgres://me:s3cret@db/shop?{query}")).unwrap_err();
            assert_eq!(error.kind(), mamey_core::ErrorKind::Misconfigured);
            let text = format!("{error:?}");
            assert!(text.contains(named) && text.contains(fix), "{query}: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn times_that_would_become_others_are_refused() {
        for limit in [
            Duration::ZERO,
            Duration::from_micros(1500),
            Duration::from_nanos(1),
            Duration::MAX,
            Duration::from_hours(24 * 25),
        ] {
            let usual = PostgresOptions::default;
            for (options, name) in [
                (usual().with_statement_timeout(limit), "`statement_timeout`"),
                (usual().with_connect_timeout(limit), "`connect_timeout`"),
                (usual().with_acquire_timeout(limit), "`acquire_timeout`"),
            ] {
                let error = read_all(options, "postgres://db/shop").err().unwrap().to_string();
                assert!(error.contains(name), "{limit:?}: {error}");
            }
        }
    }

    #[test]
    fn a_mistyped_ssl_mode_of_the_environment_is_refused() {
        assert!(check_environment(Some("verify_full")).is_err());
        assert!(check_environment(Some("verify-full")).is_ok() && check_environment(None).is_ok());
    }
}
