//! One connection through a proxy: from its first byte to the way it has to end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::counts::{Meter, Turns};
use super::mode::{Control, Direction, Mode};
use super::pump::{End, pump};

/// How long a cut connection waits for both sides to hang up.
const CUT_LINGER_MAX: Duration = Duration::from_secs(1);

/// What one connection needs to know of its proxy.
pub(super) struct Connection {
    control: watch::Receiver<Control>,
    resets_at_start: u64,
    forgets_at_start: u64,
    meter: Arc<Meter>,
}

impl Connection {
    pub(super) fn new(control: watch::Receiver<Control>, meter: Arc<Meter>) -> Self {
        let Control { resets, forgets, .. } = *control.borrow();
        Self { control, resets_at_start: resets, forgets_at_start: forgets, meter }
    }

    /// Carries the connection until either side, or the proxy, ends it.
    pub(super) async fn run(self, mut client: TcpStream, upstream: String) {
        let mut server = None;
        tokio::select! {
            () = self.reset() => {}
            // Both sockets stay open, and nobody reads or writes them.
            () = self.forgotten() => self.reset().await,
            outcome = self.carry(&mut client, &mut server, &upstream) => {
                if outcome.is_ok() {
                    return;
                }
            }
        }
        // Reset, or broken by one side: both get a reset when their sockets are dropped. One that
        // is gone already needs none.
        let _ = client.set_zero_linger();
        if let Some(server) = server {
            let _ = server.set_zero_linger();
        }
    }

    async fn carry(
        &self,
        client: &mut TcpStream,
        server: &mut Option<TcpStream>,
        upstream: &str,
    ) -> io::Result<()> {
        self.loud().await;
        let server = server.insert(TcpStream::connect(upstream).await?);
        // Bursts are passed on as they come: waiting to fill a packet would be a delay of our own.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        match self.exchange(client, server).await {
            Ok(()) => Ok(()),
            Err(End::Cut) => {
                // Not an error: the sockets close in order, so that what passed arrives.
                let hang_up = async { tokio::join!(hang_up(client), hang_up(server)) };
                let _ = tokio::time::timeout(CUT_LINGER_MAX, hang_up).await;
                Ok(())
            }
            Err(End::Broken(error)) => Err(error),
        }
    }

    async fn exchange(&self, client: &mut TcpStream, server: &mut TcpStream) -> Result<(), End> {
        let turns = Turns::new(&self.meter);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            pump(from_client, to_server, Direction::ToServer, self.control.clone(), &turns),
            pump(from_server, to_client, Direction::ToClient, self.control.clone(), &turns),
        )?;
        Ok(())
    }

    /// Returns once the proxy has been told to reset its connections.
    async fn reset(&self) {
        let mut control = self.control.clone();
        if control.wait_for(|control| control.resets > self.resets_at_start).await.is_err() {
            // The proxy is gone, and with it this task in a moment.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once the proxy has been told to forget its connections.
    async fn forgotten(&self) {
        let mut control = self.control.clone();
        if control.wait_for(|control| control.forgets > self.forgets_at_start).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns as soon as the proxy is not silent: until then the server sees no client.
    async fn loud(&self) {
        let mut control = self.control.clone();
        let _ = control.wait_for(|control| control.mode != Mode::Silent).await;
    }
}

/// Ends the stream and reads away what still comes. A socket closed with unread bytes sends a
/// reset, which would destroy what the other side has not read yet.
async fn hang_up(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut ignored = [0; 1024];
    while matches!(stream.read(&mut ignored).await, Ok(1..)) {}
}
