//! Accepts a proxy's connections and carries out the orders to change its mode.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::counts::Meter;
use super::mode::{Control, Mode};

/// How many connections the kernel may hold until they are accepted.
const BACKLOG_CONNECTIONS: u32 = 128;

/// A change of the mode, and whom to tell that it holds.
pub(super) struct Order {
    pub(super) mode: Mode,
    pub(super) done: oneshot::Sender<io::Result<()>>,
}

pub(super) struct Acceptor {
    upstream: String,
    address: SocketAddr,
    /// Bound and never listening: it keeps the port ours while nobody listens on it.
    _reservation: TcpSocket,
    /// None while connections are refused.
    listener: Option<TcpListener>,
    /// Before the control: when the proxy is dropped they end first, and none sees it go.
    connections: JoinSet<()>,
    control: watch::Sender<Control>,
    meter: Arc<Meter>,
}

impl Acceptor {
    pub(super) fn bind(upstream: String, meter: Arc<Meter>) -> io::Result<Self> {
        let reservation = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = reservation.local_addr()?;
        Ok(Self {
            upstream,
            address,
            _reservation: reservation,
            listener: Some(listen(address)?),
            connections: JoinSet::new(),
            control: watch::Sender::new(Control::START),
            meter,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    let outcome = self.change(order.mode).await;
                    // Nobody waits if the caller was cancelled; the order is carried out anyway.
                    let _ = order.done.send(outcome);
                }
                accepted = accept(self.listener.as_ref()) => {
                    if let Ok(client) = accepted {
                        self.welcome(client);
                    }
                }
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    async fn change(&mut self, mode: Mode) -> io::Result<()> {
        if mode == Mode::Refuse {
            self.listener = None;
        } else if self.listener.is_none() {
            self.listener = Some(listen(self.address)?);
        }
        self.control.send_modify(|control| control.change(mode));
        if mode == Mode::Reset {
            while self.connections.join_next().await.is_some() {}
        }
        Ok(())
    }

    fn welcome(&mut self, client: TcpStream) {
        self.meter.connected();
        if self.control.borrow().mode == Mode::Reset {
            // The drop sends the reset; a client that is gone already needs none.
            let _ = client.set_zero_linger();
            return;
        }
        let connection = Connection::new(self.control.subscribe(), Arc::clone(&self.meter));
        self.connections.spawn(connection.run(client, self.upstream.clone()));
    }
}

/// The next connection; none ever comes while nobody listens.
async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Lets the listener share the port with its reservation, and with connections that just ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG_CONNECTIONS)
}
