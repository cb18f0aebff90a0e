//! A proxy before RabbitMQ that injects acknowledgements.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::Result;
use crate::url::Url;

/// What a client begins with.
const PROTOCOL_HEADER_BYTES: usize = 8;

/// What stands before and behind the payload of a frame.
const FRAME_HEADER_BYTES: usize = 7;
const FRAME_END: u8 = 0xce;

/// The type of a frame that holds a method.
const METHOD: u8 = 1;

/// Classes and methods of AMQP 0.9.1.
const CHANNEL_CLOSE: [u8; 4] = [0, 20, 0, 40];
const BASIC_CONSUME: [u8; 4] = [0, 60, 0, 20];
const BASIC_PUBLISH: [u8; 4] = [0, 60, 0, 40];
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];

/// No channel has delivered as many.
const UNKNOWN_TAG: u64 = u64::MAX / 2;

/// A proxy before RabbitMQ that injects acknowledgements of what was never delivered. The broker
/// closes the channel of each, as it does for a client with a wrong delivery tag.
///
/// It lives on the runtime that started it, and ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct StrayAcks {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<mpsc::Sender<Order>>>>,
    acceptor: JoinHandle<()>,
}

/// Which channels are meant, by what was done on them last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelsThat {
    /// They have a consumer.
    Consume,
    /// Messages were published on them.
    Publish,
}

#[derive(Debug)]
struct Order {
    channels: ChannelsThat,
    done: oneshot::Sender<usize>,
}

/// The channels of one connection.
#[derive(Debug, Default)]
struct Channels {
    consume: BTreeSet<u16>,
    publish: BTreeSet<u16>,
}

impl StrayAcks {
    /// Listens on a free port of loopback, before the broker of a URL.
    ///
    /// # Errors
    ///
    /// Where no port can be listened on, or `upstream` is no URL of one server.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let upstream = Url::parse(upstream).map_err(io::Error::other)?.address();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let connections = Arc::<Mutex<Vec<mpsc::Sender<Order>>>>::default();
        let acceptor = tokio::spawn(accept(listener, upstream, Arc::clone(&connections)));
        Ok(Self { address, connections, acceptor })
    }

    /// A URL that leads here instead.
    ///
    /// # Errors
    ///
    /// [`Error::Url`](crate::Error::Url) if it is no URL of one server.
    pub fn url_for(&self, url: &str) -> Result<String> {
        Ok(Url::parse(url)?.with_address(&self.address.to_string()).to_text())
    }

    /// Acknowledges what was never delivered, once on each such channel; returns on how many.
    pub async fn acknowledge_on(&self, channels: ChannelsThat) -> usize {
        let connections: Vec<_> = lock(&self.connections).clone();
        let mut acknowledged = 0;
        for connection in connections {
            let (done, count) = oneshot::channel();
            // One that ended has no channels.
            if connection.send(Order { channels, done }).await.is_ok() {
                acknowledged += count.await.unwrap_or_default();
            }
        }
        acknowledged
    }
}

impl Drop for StrayAcks {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    connections: Arc<Mutex<Vec<mpsc::Sender<Order>>>>,
) {
    // Dropped with this task, they end.
    let mut running = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (orders, inbox) = mpsc::channel(1);
        lock(&connections).push(orders);
        let upstream = upstream.clone();
        running.spawn(async move {
            let server = TcpStream::connect(upstream).await?;
            run(client, server, inbox).await
        });
    }
}

/// Passes on what either side says, whole frames of the client's at a time.
async fn run(
    client: TcpStream,
    server: TcpStream,
    mut orders: mpsc::Receiver<Order>,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = async { tokio::io::copy(&mut from_server, &mut to_client).await.map(drop) };
    let forth = async {
        let (mut channels, mut read, mut begun) = (Channels::default(), Vec::new(), false);
        loop {
            tokio::select! {
                count = from_client.read_buf(&mut read) => {
                    if count? == 0 {
                        return Ok(());
                    }
                    let whole = channels.whole_frames(&read, &mut begun);
                    to_server.write_all(&read[..whole]).await?;
                    read.drain(..whole);
                }
                Some(Order { channels: which, done }) = orders.recv() => {
                    let meant = channels.take(which);
                    for channel in &meant {
                        to_server.write_all(&stray_ack(*channel)).await?;
                    }
                    // Nobody waits if the caller was cancelled.
                    let _ = done.send(meant.len());
                }
            }
        }
    };
    tokio::select! {
        ended = back => ended,
        ended = forth => ended,
    }
}

impl Channels {
    /// How many of these bytes are whole frames, whose methods are noted.
    fn whole_frames(&mut self, bytes: &[u8], begun: &mut bool) -> usize {
        let mut whole = 0;
        if !*begun && bytes.len() >= PROTOCOL_HEADER_BYTES {
            (*begun, whole) = (true, PROTOCOL_HEADER_BYTES);
        }
        while *begun && let Some(frame) = first_frame(&bytes[whole..]) {
            self.note(frame);
            whole += frame.len();
        }
        whole
    }

    fn note(&mut self, frame: &[u8]) {
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let payload = &frame[FRAME_HEADER_BYTES..frame.len() - 1];
        if frame[0] != METHOD {
            return;
        }
        if payload.starts_with(&BASIC_CONSUME) {
            self.consume.insert(channel);
        } else if payload.starts_with(&BASIC_PUBLISH) {
            self.publish.insert(channel);
        } else if payload.starts_with(&CHANNEL_CLOSE) {
            self.consume.remove(&channel);
            self.publish.remove(&channel);
        }
    }

    fn take(&mut self, which: ChannelsThat) -> BTreeSet<u16> {
        std::mem::take(match which {
            ChannelsThat::Consume => &mut self.consume,
            ChannelsThat::Publish => &mut self.publish,
        })
    }
}

fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let size: [u8; 4] = bytes.get(3..FRAME_HEADER_BYTES)?.try_into().ok()?;
    let payload_bytes = usize::try_from(u32::from_be_bytes(size)).ok()?;
    bytes.get(..FRAME_HEADER_BYTES + payload_bytes + 1)
}

fn stray_ack(channel: u16) -> Vec<u8> {
    let mut payload = BASIC_ACK.to_vec();
    payload.extend(UNKNOWN_TAG.to_be_bytes());
    // Of this one delivery alone.
    payload.push(0);
    let mut frame = vec![METHOD];
    frame.extend(channel.to_be_bytes());
    frame.extend(u32::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
