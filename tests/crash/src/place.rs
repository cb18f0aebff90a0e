//! Where a run takes place: the database, the transport, and the folder of the workers' logs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mamey_test_support::{FaultProxy, postgres, rabbitmq};
use tokio::process::Command;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::fault::Link;
use crate::options::{Options, StoreKind, TransportKind};

/// What runs the servers.
const DEV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev");

/// Where a run takes place.
pub(crate) struct Place {
    store_url: String,
    transport_url: String,
    store: StoreKind,
    transport: TransportKind,
    folder: PathBuf,
}

/// What the suite has created on servers, deleted on drop.
#[derive(Default)]
pub(crate) struct Made {
    _database: Option<postgres::Database>,
    _vhost: Option<rabbitmq::Vhost>,
}

/// The connections of one process to the servers.
pub(crate) struct Links {
    store: Option<FaultProxy>,
    transport: Option<FaultProxy>,
    pub(crate) store_url: String,
    pub(crate) transport_url: String,
}

impl Place {
    /// Creates what the options do not name; files and logs go to the folder.
    pub(crate) async fn prepare(options: &Options, folder: &Path) -> Result<(Self, Made)> {
        let mut place = Self {
            store_url: format!("sqlite:{}", folder.join("crash.db").display()),
            transport_url: "memory:".to_owned(),
            store: options.store,
            transport: options.transport,
            folder: folder.to_owned(),
        };
        let mut made = Made::default();
        match (&options.store_url, options.store) {
            (Some(url), _) => place.store_url.clone_from(url),
            (None, StoreKind::Sqlite) => {}
            (None, StoreKind::Postgres) => {
                let database = postgres::database().await?;
                database.url().clone_into(&mut place.store_url);
                made._database = Some(database);
            }
        }
        match (&options.transport_url, options.transport) {
            (Some(url), _) => place.transport_url.clone_from(url),
            (None, TransportKind::Memory) => {}
            (None, TransportKind::Rabbitmq) => {
                let vhost = rabbitmq::vhost().await?;
                vhost.url().clone_into(&mut place.transport_url);
                made._vhost = Some(vhost);
            }
        }
        Ok((place, made))
    }

    /// Where the workers write their logs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether each context has processes of its own. Otherwise each process hosts all contexts,
    /// because the transport is in-process.
    pub(crate) fn is_distributed(&self) -> bool {
        self.transport == TransportKind::Rabbitmq
    }

    /// How long a silent instance keeps its partitions.
    pub(crate) fn lease(&self) -> Duration {
        self.store.lease()
    }

    pub(crate) fn store_url(&self) -> &str {
        &self.store_url
    }

    /// The connections of a new process, each through a proxy that can break it.
    pub(crate) async fn links(&self) -> Result<Links> {
        let remote_store = self.store == StoreKind::Postgres;
        let remote_transport = self.transport == TransportKind::Rabbitmq;
        let (store, store_url) = link(&self.store_url, remote_store).await?;
        let (transport, transport_url) = link(&self.transport_url, remote_transport).await?;
        Ok(Links { store, transport, store_url, transport_url })
    }

    /// Kills a server and starts it again on its data.
    pub(crate) async fn restart(&self, link: Link, away: Duration) -> Result<()> {
        let url = match link {
            Link::Store => &self.store_url,
            Link::Transport => &self.transport_url,
        };
        let port = port(url).ok_or_else(|| {
            Error::Usage("--restart-servers needs servers whose URLs name their ports".to_owned())
        })?;
        servers("kill", &port).await?;
        sleep(away).await;
        servers("resume", &port).await
    }
}

impl Links {
    /// The proxy on a link, where there is one.
    pub(crate) fn proxy(&self, link: Link) -> Option<&FaultProxy> {
        match link {
            Link::Store => self.store.as_ref(),
            Link::Transport => self.transport.as_ref(),
        }
    }
}

async fn link(url: &str, remote: bool) -> Result<(Option<FaultProxy>, String)> {
    if !remote {
        return Ok((None, url.to_owned()));
    }
    let proxy = FaultProxy::start(url).await.map_err(Error::system("starting a proxy"))?;
    let url = proxy.url_for(url)?;
    Ok((Some(proxy), url))
}

fn port(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.to_owned())
}

async fn servers(word: &str, port: &str) -> Result<()> {
    let output = Command::new(DEV)
        .args(["servers", word, port])
        .output()
        .await
        .map_err(Error::system("running ./dev servers"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Server(format!("./dev servers {word} {port}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::port;

    #[test]
    fn a_server_is_named_by_its_port() {
        assert_eq!(port("postgres://me:secret@127.0.0.1:21100/db?a=b").as_deref(), Some("21100"));
        assert_eq!(port("postgres://me:secret@host/db"), None);
        assert_eq!(port("memory:"), None);
    }
}
