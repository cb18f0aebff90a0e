//! A TCP proxy before a server: it delays, falls silent, cuts, resets and refuses connections.

mod acceptor;
mod connection;
mod counts;
mod mode;
mod pump;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::acceptor::{Acceptor, Order};
use self::counts::Meter;
use crate::Result;
use crate::url::Url;

pub use self::counts::Counts;
pub use self::mode::{Direction, Mode};

/// How many orders may wait for the proxy at a time; further senders wait.
const ORDERS_MAX: usize = 16;

/// A TCP proxy on loopback, whose behaviour is switched while connections run through it.
///
/// It lives on the runtime that started it, and ends with all its connections when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    meter: Arc<Meter>,
    orders: mpsc::Sender<Order>,
    acceptor: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port of loopback and forwards to `upstream`, a URL or `host:port`.
    ///
    /// # Errors
    ///
    /// Where no port can be listened on, or `upstream` is a URL of several servers.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let upstream = match upstream.contains("://") {
            true => Url::parse(upstream).map_err(io::Error::other)?.address(),
            false => upstream.to_owned(),
        };
        let meter = Arc::new(Meter::default());
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let acceptor = Acceptor::bind(upstream, Arc::clone(&meter))?;
        let address = acceptor.address();
        let acceptor = tokio::spawn(acceptor.run(inbox));
        Ok(Self { address, meter, orders, acceptor })
    }

    /// Where it listens; the same for its whole life, in [`Mode::Refuse`] too.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL with its host and port replaced by the proxy's.
    ///
    /// A MongoDB URL is told to connect directly: a driver that looks for the members of the set
    /// would find the server and go around the proxy.
    ///
    /// # Errors
    ///
    /// [`Error::Url`](crate::Error::Url) if it is no URL of one server.
    pub fn url_for(&self, url: &str) -> Result<String> {
        let url = Url::parse(url)?.with_address(&self.address.to_string());
        if url.scheme() == "mongodb" && !url.has("directConnection") {
            return Ok(url.with("directConnection", "true").to_text());
        }
        Ok(url.to_text())
    }

    /// Behaves like `mode` from now on. When this returns it holds: with [`Mode::Refuse`] the port
    /// is closed, with [`Mode::Reset`] no connection is left.
    ///
    /// # Errors
    ///
    /// Where the port cannot be listened on again after [`Mode::Refuse`].
    pub async fn set(&self, mode: Mode) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        let gone = |_| io::Error::other("the proxy's runtime has ended");
        self.orders.send(Order { mode, done }).await.map_err(|_| gone(()))?;
        outcome.await.map_err(|_| gone(()))?
    }

    /// What has gone through so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.meter.read()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}
