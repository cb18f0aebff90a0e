//! Every mode of the fault proxy, against a server that echoes.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mamey_test_support::{Counts, Direction, FaultProxy, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough for anything on loopback to arrive, were it to arrive.
const QUIET: Duration = Duration::from_millis(100);

/// Far more than anything on loopback takes.
const SOON: Duration = Duration::from_secs(5);

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    address
}

async fn proxy() -> FaultProxy {
    FaultProxy::start(&echo_server().await.to_string()).await.unwrap()
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn echoed(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    read(stream, text.len()).await
}

async fn read(stream: &mut TcpStream, len: usize) -> String {
    let mut buffer = vec![0; len];
    timeout(SOON, stream.read_exact(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8(buffer).unwrap()
}

/// What a connection is read to: the bytes until its end, and how it ended.
async fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let outcome = timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap();
    (bytes, outcome.err().map(|error| error.kind()))
}

async fn says_nothing(stream: &mut TcpStream) -> bool {
    timeout(QUIET, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn forward_passes_everything_on() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(echoed(&mut stream, "hello").await, "hello");
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, (Vec::new(), None));
}

#[tokio::test]
async fn forward_passes_more_than_its_buffers_hold() {
    let proxy = proxy().await;
    let (mut from, mut to) = connect(&proxy).await.into_split();
    let sent: Vec<u8> = (0..5_000_000u32).map(|i| i.to_le_bytes()[(i % 4) as usize]).collect();
    let expected = sent.clone();
    let sender = tokio::spawn(async move { to.write_all(&sent).await.map(|()| to) });
    let mut received = vec![0; expected.len()];
    timeout(SOON, from.read_exact(&mut received)).await.unwrap().unwrap();
    assert!(received == expected);
    sender.await.unwrap().unwrap();
    assert_eq!(proxy.counts().bytes_to_client, expected.len() as u64);
}

#[tokio::test]
async fn counts_are_of_connections_bytes_and_round_trips() {
    let proxy = proxy().await;
    assert_eq!(proxy.counts(), Counts::default());
    let mut stream = connect(&proxy).await;
    echoed(&mut stream, "one").await;
    let first = Counts { connections: 1, bytes_to_server: 3, bytes_to_client: 3, round_trips: 1 };
    assert_eq!(proxy.counts(), first);

    let before = proxy.counts();
    for _ in 0..7 {
        echoed(&mut stream, "again").await;
    }
    let seven = Counts { connections: 0, bytes_to_server: 35, bytes_to_client: 35, round_trips: 7 };
    assert_eq!(proxy.counts() - before, seven);
}

#[tokio::test]
async fn requests_that_wait_for_no_reply_are_one_round_trip() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(&listener.local_addr().unwrap().to_string()).await.unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    for round_trips in 1..=3 {
        for part in ["a", "b", "c"] {
            client.write_all(part.as_bytes()).await.unwrap();
            assert_eq!(read(&mut server, 1).await, part);
        }
        for part in ["x", "y"] {
            server.write_all(part.as_bytes()).await.unwrap();
            assert_eq!(read(&mut client, 1).await, part);
        }
        assert_eq!(proxy.counts().round_trips, round_trips);
    }
}

#[tokio::test]
async fn delay_holds_each_direction_up_and_keeps_the_order() {
    let proxy = proxy().await;
    let one_way = Duration::from_millis(40);
    let jitter = Duration::from_millis(20);
    proxy.set(Mode::Delay { one_way, jitter }).await.unwrap();
    let mut stream = connect(&proxy).await;
    let began = Instant::now();
    for digit in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        stream.write_all(digit.as_bytes()).await.unwrap();
    }
    assert_eq!(read(&mut stream, 10).await, "0123456789");
    assert!(began.elapsed() >= 2 * one_way, "{:?}", began.elapsed());

    proxy.set(Mode::Delay { one_way: 10 * SOON, jitter }).await.unwrap();
    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(echoed(&mut stream, "soon").await, "soon");
}

#[tokio::test]
async fn delay_does_not_lower_the_throughput() {
    let proxy = proxy().await;
    let one_way = Duration::from_millis(50);
    proxy.set(Mode::Delay { one_way, jitter: Duration::ZERO }).await.unwrap();
    let mut stream = connect(&proxy).await;
    let began = Instant::now();
    for _ in 0..20 {
        stream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    read(&mut stream, 20).await;
    // One after the other they would take 20 × 50 ms each way.
    assert!(began.elapsed() < Duration::from_millis(1000), "{:?}", began.elapsed());
}

#[tokio::test]
async fn silence_keeps_connections_open_and_loses_nothing() {
    let proxy = proxy().await;
    let mut open = connect(&proxy).await;
    echoed(&mut open, "before").await;
    proxy.set(Mode::Silent).await.unwrap();
    open.write_all(b"during").await.unwrap();
    let mut new = connect(&proxy).await;
    new.write_all(b"new").await.unwrap();
    assert!(says_nothing(&mut open).await);
    assert!(says_nothing(&mut new).await);

    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(read(&mut open, 6).await, "during");
    assert_eq!(read(&mut new, 3).await, "new");
}

#[tokio::test]
async fn reset_reaches_open_and_new_connections() {
    let proxy = proxy().await;
    let mut open = connect(&proxy).await;
    echoed(&mut open, "before").await;
    proxy.set(Mode::Reset).await.unwrap();
    assert_eq!(read_to_end(&mut open).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
    let mut new = connect(&proxy).await;
    assert_eq!(read_to_end(&mut new).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));

    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(echoed(&mut connect(&proxy).await, "back").await, "back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_not_missed_when_another_mode_follows_at_once() {
    let proxy = proxy().await;
    for _ in 0..50 {
        let mut open = connect(&proxy).await;
        echoed(&mut open, "before").await;
        proxy.set(Mode::Reset).await.unwrap();
        proxy.set(Mode::Forward).await.unwrap();
        assert_eq!(read_to_end(&mut open).await.1, Some(ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn a_reset_reaches_silent_connections() {
    let proxy = proxy().await;
    proxy.set(Mode::Silent).await.unwrap();
    let mut open = connect(&proxy).await;
    open.write_all(b"x").await.unwrap();
    assert!(says_nothing(&mut open).await);
    proxy.set(Mode::Reset).await.unwrap();
    assert_eq!(read_to_end(&mut open).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_cut_passes_exactly_its_bytes_to_the_client() {
    let proxy = proxy().await;
    let mut open = connect(&proxy).await;
    echoed(&mut open, "before").await;
    let direction = Direction::ToClient;
    proxy.set(Mode::CutAfter { direction, bytes: 4 }).await.unwrap();
    open.write_all(b"after").await.unwrap();
    assert_eq!(read_to_end(&mut open).await, (b"afte".to_vec(), None));

    // Counted anew for each connection, over several replies.
    let mut new = connect(&proxy).await;
    assert_eq!(echoed(&mut new, "ab").await, "ab");
    new.write_all(b"cdef").await.unwrap();
    assert_eq!(read_to_end(&mut new).await, (b"cd".to_vec(), None));

    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(echoed(&mut connect(&proxy).await, "whole").await, "whole");
}

#[tokio::test]
async fn a_cut_passes_exactly_its_bytes_to_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(&listener.local_addr().unwrap().to_string()).await.unwrap();
    let direction = Direction::ToServer;
    proxy.set(Mode::CutAfter { direction, bytes: 3 }).await.unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"request").await.unwrap();
    assert_eq!(read_to_end(&mut server).await, (b"req".to_vec(), None));
    assert_eq!(read_to_end(&mut client).await, (Vec::new(), None));
    assert_eq!(proxy.counts().bytes_to_server, 3);
}

#[tokio::test]
async fn a_cut_after_nothing_passes_nothing() {
    let proxy = proxy().await;
    let direction = Direction::ToServer;
    proxy.set(Mode::CutAfter { direction, bytes: 0 }).await.unwrap();
    let mut stream = connect(&proxy).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, (Vec::new(), None));
    assert_eq!(proxy.counts().bytes_to_server, 0);
}

#[tokio::test]
async fn refusal_closes_the_port_and_opens_the_same_again() {
    let proxy = proxy().await;
    let mut open = connect(&proxy).await;
    echoed(&mut open, "before").await;
    for _ in 0..5 {
        proxy.set(Mode::Refuse).await.unwrap();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(echoed(&mut open, "still here").await, "still here");
        proxy.set(Mode::Forward).await.unwrap();
        assert_eq!(echoed(&mut connect(&proxy).await, "back").await, "back");
    }
}

#[tokio::test]
async fn a_server_that_is_down_resets_its_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    drop(listener);
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(read_to_end(&mut stream).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn connections_end_with_the_proxy() {
    let proxy = proxy().await;
    let address = proxy.address();
    let mut open = connect(&proxy).await;
    echoed(&mut open, "before").await;
    drop(proxy);
    assert!(read_to_end(&mut open).await.0.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_url_leads_to_the_proxy() {
    let proxy = FaultProxy::start("redis://:secret@127.0.0.1:1/0").await.unwrap();
    let address = proxy.address();
    for (url, led) in [
        ("redis://:secret@db:1/0", format!("redis://:secret@{address}/0")),
        ("postgres://u:p@db/orders?a=b", format!("postgres://u:p@{address}/orders?a=b")),
        ("mongodb://db/o", format!("mongodb://{address}/o?directConnection=true")),
    ] {
        assert_eq!(proxy.url_for(url).unwrap(), led);
    }
    assert!(proxy.url_for("mongodb://a:1,b:2/o").is_err());
}
