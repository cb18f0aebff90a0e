//! What the URL of a broker sets behind its `?`, in the names that RabbitMQ's own clients use.

use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use mamey_core::connection::PasswordFile;
use mamey_core::{Error, Result};
use url::Url;

/// What is known, for the error about what may not be left out.
const KNOWN: &str = "`heartbeat`, `connection_timeout`, `channel_max`, `frame_max`, \
    `auth_mechanism`, `cacertfile`, `certfile`, `keyfile`, `password_file`";

/// Parameters that ask for more security than without them. Whoever writes one relies on it.
const SECURITY: [&str; 6] =
    ["depth", "password", "server_name_indication", "ssl_options", "sslmode", "verify"];

/// What is set beside what the driver reads itself.
#[derive(Default)]
pub(crate) struct Parameters {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) password_file: Option<PasswordFile>,
    pub(crate) authority_file: Option<PathBuf>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// What this build does not know and what is harmless to leave out.
    pub(crate) ignored: Vec<String>,
}

impl Parameters {
    /// # Errors
    /// `Misconfigured`, naming the parameter and the fix. No value is repeated.
    pub(crate) fn read(url: &Url, uri: &mut AMQPUri) -> Result<Self> {
        let mut read = Self::default();
        for (name, value) in url.query_pairs() {
            read.set(&name, &value, uri)?;
        }
        if read.certificate_file.is_some() != read.key_file.is_some() {
            return Err(Error::misconfigured(
                "`certfile` and `keyfile` need each other: name both or none",
            ));
        }
        let encrypts = uri.scheme == AMQPScheme::AMQPS;
        if !encrypts && (read.authority_file.is_some() || read.certificate_file.is_some()) {
            return Err(Error::misconfigured(
                "certificates have no effect without TLS: write `amqps://` instead of `amqp://`",
            ));
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: &str, uri: &mut AMQPUri) -> Result<()> {
        match name {
            "heartbeat" => uri.query.heartbeat = Some(number(name, value, "seconds, 1 to 65535")?),
            "channel_max" => uri.query.channel_max = Some(number(name, value, "1 to 65535")?),
            "frame_max" => uri.query.frame_max = Some(number(name, value, "bytes, 4096 or more")?),
            "connection_timeout" => {
                let milliseconds: u32 = number(name, value, "milliseconds, 1 or more")?;
                self.connect_timeout = Some(Duration::from_millis(milliseconds.into()));
            }
            "auth_mechanism" => uri.query.auth_mechanism = Some(mechanism(value)?),
            "password_file" => self.password_file = Some(PasswordFile::new(value)?),
            "cacertfile" => self.authority_file = Some(readable(name, value)?),
            "certfile" => self.certificate_file = Some(readable(name, value)?),
            "keyfile" => self.key_file = Some(readable(name, value)?),
            "verify" if value == "verify_peer" => {}
            "server_name_indication" if value == uri.authority.host => {}
            name if SECURITY.contains(&name) || name.starts_with("tls") => {
                return Err(Error::misconfigured(format!(
                    "the URL's parameter `{name}` changes how secure the connection is, in a way \
                     that is not supported; with `amqps` a certificate and its name are always \
                     checked. Remove it; what may be set is {KNOWN}"
                )));
            }
            _ => self.ignored.push(name.to_owned()),
        }
        Ok(())
    }
}

fn number<N: FromStr + PartialEq + Default>(name: &str, value: &str, range: &str) -> Result<N> {
    value.parse().ok().filter(|number| *number != N::default()).ok_or_else(|| {
        Error::misconfigured(format!(
            "the URL's parameter `{name}` must be a whole number: {range}"
        ))
    })
}

fn mechanism(name: &str) -> Result<SASLMechanism> {
    name.parse().map_err(|_| {
        Error::misconfigured(
            "the URL's parameter `auth_mechanism` must be `plain`, `amqplain` or `external`",
        )
    })
}

/// Only opening it shows whether it may be read.
fn readable(name: &str, path: &str) -> Result<PathBuf> {
    match File::open(path) {
        Ok(_) => Ok(path.into()),
        Err(cause) => Err(Error::misconfigured(format!(
            "`{name}` names {path}, which cannot be read: {cause}"
        ))),
    }
}
