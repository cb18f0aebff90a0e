//! Where the servers of a URL are: one, several, or a socket in a folder.

use std::path::PathBuf;

use mamey_core::{Error, Result};
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// What a URL without a host is read with. Its host then comes from elsewhere.
const PLACEHOLDER: &str = "localhost";

/// A URL whose hosts were taken out, since the parser knows URLs with one host only.
pub(super) struct Split {
    /// The URL with a placeholder, or with its one host.
    pub(super) url: String,
    /// The hosts that stood in it; empty for none.
    pub(super) hosts: Vec<String>,
}

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Host { host: String, port: Option<u16> },
    Socket { folder: PathBuf, port: Option<u16> },
}

impl Split {
    /// Takes the hosts out of `scheme://login@host:port,host:port/database?parameters`.
    pub(super) fn of(url: &str) -> Self {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Self { url: url.to_owned(), hosts: Vec::new() };
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let hosts: Vec<String> =
            hosts.split(',').filter(|host| !host.is_empty()).map(str::to_owned).collect();
        let url = match hosts.as_slice() {
            [one] => format!("{scheme}://{login}{one}{behind}"),
            _ => format!("{scheme}://{login}{PLACEHOLDER}{behind}"),
        };
        Self { url, hosts }
    }

    /// The places, given the parameters `host` and `port`, which go before what stands in the
    /// URL's authority. Empty when nothing names one.
    ///
    /// # Errors
    /// `Misconfigured` for a port that is none, or for more ports than hosts.
    pub(super) fn places(&self, host: Option<&str>, port: Option<&str>) -> Result<Vec<Place>> {
        let (hosts, mut ports): (Vec<String>, Vec<Option<u16>>) = match host {
            Some(hosts) => (hosts.split(',').map(str::to_owned).collect(), Vec::new()),
            None => self.hosts.iter().map(|host| host_and_port(host)).collect::<Result<_>>()?,
        };
        if let Some(given) = port {
            ports = given.split(',').map(|port| number(port).map(Some)).collect::<Result<_>>()?;
        }
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err(Error::misconfigured(format!(
                "the URL names {} hosts and {} ports: give one port for all, or one for each",
                hosts.len(),
                ports.len()
            )));
        }
        let port = |at: usize| match ports.as_slice() {
            [one] => *one,
            several => several.get(at).copied().flatten(),
        };
        Ok(hosts.into_iter().enumerate().map(|(at, host)| Place::of(host, port(at))).collect())
    }
}

impl Place {
    fn of(host: String, port: Option<u16>) -> Self {
        match host.starts_with('/') {
            true => Self::Socket { folder: host.into(), port },
            // Brackets belong to the URL, not to the address.
            false => Self::Host { host: host.trim_matches(['[', ']']).to_owned(), port },
        }
    }

    /// Puts the place into a URL, so that the driver finds what depends on it, such as a line of
    /// `~/.pgpass`.
    pub(super) fn put_into(&self, url: &mut Url) {
        let (host, port) = match self {
            Self::Host { host, port } if host.contains(':') => (format!("[{host}]"), port),
            Self::Host { host, port } => (host.clone(), port),
            Self::Socket { port, .. } => (PLACEHOLDER.to_owned(), port),
        };
        // The caller reports a URL that cannot be read.
        let _ = url.set_host(Some(&host));
        let _ = url.set_port(*port);
        if let Self::Socket { folder, .. } = self {
            url.query_pairs_mut().append_pair("host", &folder.to_string_lossy());
        }
    }

    /// The driver keeps the brackets of an address, which a certificate's name lacks.
    pub(super) fn apply(&self, connect: PgConnectOptions) -> PgConnectOptions {
        match self {
            Self::Host { host, .. } => connect.host(host),
            Self::Socket { .. } => connect,
        }
    }
}

/// Where the driver connects when nothing names a place.
pub(super) fn usual_place(connect: PgConnectOptions) -> PgConnectOptions {
    let usual = PgConnectOptions::new_without_pgpass();
    match usual.get_socket() {
        Some(folder) => connect.socket(folder),
        None => connect.host(usual.get_host()),
    }
}

/// `host`, `host:port`, `[address]` or `[address]:port`; a percent-encoded path is a socket.
fn host_and_port(text: &str) -> Result<(String, Option<u16>)> {
    let text = text.replace("%2F", "/").replace("%2f", "/");
    let behind = text.rfind(']').map_or(0, |at| at + 1);
    match text.get(behind..).and_then(|rest| rest.rfind(':')) {
        Some(colon) if !text.starts_with('/') => {
            let (host, port) = text.split_at(behind + colon);
            Ok((host.to_owned(), Some(number(port.trim_start_matches(':'))?)))
        }
        _ => Ok((text, None)),
    }
}

fn number(port: &str) -> Result<u16> {
    port.trim().parse().map_err(|_| {
        Error::misconfigured("a port of the URL is no number from 1 to 65535".to_owned())
    })
}
