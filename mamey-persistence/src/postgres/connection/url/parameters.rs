//! The parameters of a URL: ours, those of every client, those of other clients, and the rest.

use std::fmt;
use std::fs::File;
use std::str::FromStr;
use std::time::Duration;

use mamey_core::connection::PasswordFile;
use mamey_core::{Error, Result};

use crate::postgres::options::PostgresOptions;

/// Our own parameters, for the warning about an unknown one.
pub(super) const OUR_PARAMETERS: &str = "`connections_max`, `acquire_timeout_ms`, \
    `connect_timeout_ms`, `statement_timeout_ms`, `lock_timeout_ms`, `statements_cached_max`, \
    `listen`, `pgbouncer`, `password_file`";

/// What the driver takes as it is.
const FOR_THE_DRIVER: [&str; 6] =
    ["application_name", "user", "password", "dbname", "options", "hostaddr"];

/// Parameters beside those on TLS that ask for another security than without them.
const SECURITY: [&str; 6] =
    ["require_auth", "requirepeer", "passfile", "service", "servicefile", "krbsrvname"];

/// The longest time of a statement that PostgreSQL takes: 24 days.
const MILLISECONDS_MAX: u128 = i32::MAX as u128;

/// What the parameters of a URL say.
#[derive(Default)]
pub(super) struct Parameters {
    /// For the driver, in its names.
    pub(super) usual: Vec<(String, String)>,
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) password_file: Option<PasswordFile>,
    /// Whether it names whom to trust.
    pub(super) names_authority: bool,
    /// Whether each server is asked if it can be written to.
    pub(super) must_write: bool,
    /// What this build does not know and what is harmless to leave out.
    pub(super) ignored: Vec<String>,
}

impl Parameters {
    /// Takes one parameter, or says by name why it cannot be.
    pub(super) fn take(
        &mut self,
        options: &mut PostgresOptions,
        name: &str,
        value: &str,
    ) -> Result<()> {
        match name {
            "connections_max" | "connection_limit" => {
                options.connections_max = number(name, value, 1)?;
            }
            "acquire_timeout_ms" => options.acquire_timeout = milliseconds(name, value)?,
            "connect_timeout_ms" => options.connect_timeout = milliseconds(name, value)?,
            "statement_timeout_ms" => options.statement_timeout = milliseconds(name, value)?,
            "lock_timeout_ms" => options.lock_timeout = milliseconds(name, value)?,
            "statements_cached_max" | "statement_cache_size" => {
                options.statements_cached_max = number(name, value, 0)?;
            }
            "listen" => options.listen = switch(name, value)?,
            "pgbouncer" => options.pgbouncer = switch(name, value)?,
            "password_file" => self.password_file = Some(PasswordFile::new(value)?),
            // For other clients 0 means without limit, which nothing has here.
            "connect_timeout" | "pool_timeout" if value == "0" => self.ignored.push(name.into()),
            "connect_timeout" => options.connect_timeout = seconds(name, value)?,
            "pool_timeout" => options.acquire_timeout = seconds(name, value)?,
            "target_session_attrs" => self.must_write |= must_write(value)?,
            "host" => self.host = Some(value.to_owned()),
            "port" => self.port = Some(value.to_owned()),
            name if FOR_THE_DRIVER.contains(&name) => self.hand_on(name, value),
            name if name.starts_with("options[") => self.hand_on(name, value),
            name if name.starts_with("ssl") || name.starts_with("gss") => {
                self.take_security(name, value)?;
            }
            name if SECURITY.contains(&name) => return Err(not_supported(name)),
            name => self.ignored.push(name.to_owned()),
        }
        Ok(())
    }

    fn take_security(&mut self, name: &str, value: &str) -> Result<()> {
        match (name, value) {
            ("sslmode" | "ssl-mode", mode) => self.hand_on("sslmode", mode),
            ("ssl", "true" | "1" | "require") => self.at_least("require"),
            ("sslaccept", "strict") => self.at_least("verify-full"),
            // The authorities of the system, which are used anyway.
            ("sslrootcert" | "ssl-root-cert" | "ssl-ca", "system") => {
                self.names_authority = true;
                self.at_least("verify-full");
            }
            ("sslrootcert" | "ssl-root-cert" | "ssl-ca", file) => {
                self.names_authority = true;
                self.file("sslrootcert", file)?;
            }
            ("sslcert" | "ssl-cert", file) => self.file("sslcert", file)?,
            ("sslkey" | "ssl-key", file) => self.file("sslkey", file)?,
            // What holds here in any case.
            ("ssl", "false" | "0")
            | ("sslcompression" | "sslsni", _)
            | ("sslaccept", "accept_invalid_certs")
            | ("sslcertmode", "allow" | "disable")
            | ("sslnegotiation", "postgres")
            | ("gssencmode", "disable" | "prefer")
            | ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2")
            | ("ssl_max_protocol_version", "TLSv1.3" | "") => {}
            _ => return Err(not_supported(name)),
        }
        Ok(())
    }

    /// A file that can be read, or its content.
    fn file(&mut self, name: &str, file: &str) -> Result<()> {
        // Only opening it shows whether it may be read.
        if !file.starts_with("-----BEGIN") {
            File::open(file).map_err(|cause| {
                Error::misconfigured(format!(
                    "`{name}` names {file}, which cannot be read: {cause}"
                ))
            })?;
        }
        self.hand_on(name, file);
        Ok(())
    }

    fn hand_on(&mut self, name: &str, value: &str) {
        self.usual.push((name.to_owned(), value.to_owned()));
    }

    /// Sets `sslmode` unless the URL does.
    fn at_least(&mut self, mode: &str) {
        self.usual.insert(0, ("sslmode".to_owned(), mode.to_owned()));
    }
}

fn not_supported(name: &str) -> Error {
    Error::misconfigured(format!(
        "the URL's parameter `{name}` changes how secure the connection is, in a way that is not \
         supported: remove it. `sslmode`, `sslrootcert`, `sslcert` and `sslkey` are; \
         `sslmode=verify-full` is the strictest"
    ))
}

/// A store writes, so a server that only reads is never meant.
fn must_write(value: &str) -> Result<bool> {
    match value {
        "any" => Ok(false),
        "read-write" | "primary" => Ok(true),
        _ => Err(Error::misconfigured(
            "`target_session_attrs` must be `read-write`, `primary` or `any`: a store writes",
        )),
    }
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
    number(name, value, 1_u32).map(|number| Duration::from_millis(number.into()))
}

fn seconds(name: &str, value: &str) -> Result<Duration> {
    number(name, value, 1_u32).map(|number| Duration::from_secs(number.into()))
}

fn switch(name: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| {
        Error::misconfigured(format!("`{name}` is `{value}`: write `true` or `false`"))
    })
}

/// Refuses a time that the server or the driver would take for another.
pub(super) fn check_times(options: &PostgresOptions) -> Result<()> {
    for (name, limit) in [
        ("acquire_timeout", options.acquire_timeout),
        ("connect_timeout", options.connect_timeout),
        ("statement_timeout", options.statement_timeout),
        ("lock_timeout", options.lock_timeout),
    ] {
        let is_whole = limit.subsec_nanos() % 1_000_000 == 0;
        if !is_whole || !(1..=MILLISECONDS_MAX).contains(&limit.as_millis()) {
            return Err(Error::misconfigured(format!(
                "`{name}` is {limit:?}; it must be whole milliseconds from 1 to {MILLISECONDS_MAX}"
            )));
        }
    }
    Ok(())
}
