//! Requests on a real broker, where connections end, queues fill, and foreign clients ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use mamey_core::ErrorKind;
use mamey_core::id::{IdSource, MessageId, UuidV7Source};
use mamey_core::message::{Envelope, Metadata, Target};
use mamey_core::transport::{REQUESTS_SERVED_MAX, Requester, Responder, Transport};
use mamey_test_support::{Direction, FaultProxy, Mode, rabbitmq, require};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::world::{Foreign, SOON, connect, context};

/// Answers with the request's payload once it is released, and counts how often each one arrived.
struct Echo {
    released: watch::Sender<bool>,
    received: Mutex<BTreeMap<MessageId, u32>>,
}

impl Echo {
    fn new(released: bool) -> Arc<Self> {
        Arc::new(Self { released: watch::Sender::new(released), received: Mutex::default() })
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    async fn until_received(&self, count: usize) {
        let received = async {
            while self.count() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, received).await.expect("the requests do not arrive");
    }
}

#[async_trait]
impl Responder for Echo {
    fn serves(&self) -> Vec<&'static str> {
        vec!["payments.echo"]
    }

    async fn respond(&self, request: Envelope) -> Envelope {
        *self.received.lock().unwrap().entry(request.metadata.id).or_default() += 1;
        self.released.subscribe().wait_for(|released| *released).await.unwrap();
        let (id, time) = (new_id(), request.metadata.time);
        request.reply(&context("payments"), id, time, Ok(request.payload.clone()))
    }
}

fn new_id() -> MessageId {
    UuidV7Source::default().message_id()
}

fn request(payload: &str) -> Envelope {
    let mut metadata = Metadata::new(new_id(), "payments.echo", "orders");
    metadata.target = Target::Service(context("payments"));
    Envelope::new(metadata, payload.to_owned().into())
}

/// Asks again until there is an answer, as a caller would.
async fn ask_again(requester: &dyn Requester) {
    let again = async {
        while requester.request(&request("1"), Duration::from_secs(2)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.expect("there is no answer any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_fails_what_waits_and_the_next_request_makes_another() {
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let server = connect(vhost.url()).await;
    let echo = Echo::new(false);
    let _serving = server.serve(&context("payments"), echo.clone()).await.unwrap();
    let caller = connect(&proxy.url_for(vhost.url()).unwrap()).await;
    let requester = caller.requester();
    let waits = request("1");
    let (ended, ()) = tokio::join!(requester.request(&waits, SOON), async {
        echo.until_received(1).await;
        proxy.set(Mode::Reset).await.unwrap();
        proxy.set(Mode::Forward).await.unwrap();
    });
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    echo.released.send_replace(true);
    ask_again(&*requester).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_handled_once_wherever_connections_are_cut() {
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let url = proxy.url_for(vhost.url()).unwrap();
    let (server, caller) = (connect(&url).await, connect(&url).await);
    let echo = Echo::new(true);
    let _serving = server.serve(&context("payments"), echo.clone()).await.unwrap();
    let requester = caller.requester();
    let ask = async || {
        let mut answered = 0_usize;
        for number in 0..100 {
            let asked = request(&number.to_string());
            if let Ok(reply) = requester.request(&asked, Duration::from_secs(1)).await
                && let Ok(answer) = reply.into_answer(&asked.metadata)
            {
                assert_eq!(answer, asked.payload);
                answered += 1;
            }
            sleep(Duration::from_millis(2)).await;
        }
        answered
    };
    let cut = async {
        for _ in 0..10 {
            let (direction, bytes) = (Direction::ToClient, fastrand::u64(1..8_000));
            proxy.set(Mode::CutAfter { direction, bytes }).await.unwrap();
            sleep(Duration::from_millis(50)).await;
            proxy.set(Mode::Forward).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    };
    let (answered, ()) = tokio::join!(join_all((0..4).map(|_| ask())), cut);
    assert!(answered.iter().sum::<usize>() > 0, "nothing was answered");
    ask_again(&*requester).await;
    let received = echo.received.lock().unwrap();
    assert!(received.values().all(|times| *times == 1), "some were handled twice: {received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_that_is_full_says_so_at_once() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = connect(vhost.url()).await;
    let echo = Echo::new(false);
    let _serving = transport.serve(&context("payments"), echo.clone()).await.unwrap();
    let requester = transport.requester();
    let ask = async || requester.request(&request("1"), SOON).await;
    // As many as are served, as many again in the queue, and some more.
    let most = 2 * REQUESTS_SERVED_MAX;
    let asking = join_all((0..most + 10).map(|_| ask()));
    let refusing = async {
        echo.until_received(REQUESTS_SERVED_MAX).await;
        let error = loop {
            match requester.request(&request("1"), Duration::from_millis(200)).await {
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                other => break other.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("is full"), "{error}");
        assert_eq!(echo.count(), REQUESTS_SERVED_MAX);
        echo.released.send_replace(true);
    };
    let (outcomes, ()) = tokio::join!(asking, refusing);
    let (answered, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(answered.len() >= REQUESTS_SERVED_MAX, "{} were answered", answered.len());
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    ask_again(&*requester).await;
}

#[tokio::test]
async fn a_request_that_waited_longer_than_its_timeout_is_never_handled() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = connect(vhost.url()).await;
    let echo = Echo::new(false);
    let _serving = transport.serve(&context("payments"), echo.clone()).await.unwrap();
    let requester = transport.requester();
    let busy = join_all((0..REQUESTS_SERVED_MAX).map(|_| async {
        requester.request(&request("1"), SOON).await.unwrap();
    }));
    let late = request("1");
    let waiting = async {
        echo.until_received(REQUESTS_SERVED_MAX).await;
        let error = requester.request(&late, Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        echo.released.send_replace(true);
    };
    tokio::join!(busy, waiting);
    ask_again(&*requester).await;
    assert!(!echo.received.lock().unwrap().contains_key(&late.metadata.id));
}

#[tokio::test]
async fn a_foreign_client_is_answered_and_what_cannot_be_read_is_refused_at_once() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = connect(vhost.url()).await;
    let _serving = transport.serve(&context("payments"), Echo::new(true)).await.unwrap();
    let client = Foreign::connect(vhost.url()).await;
    let channel = &client.channel;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let reply_to = "amq.rabbitmq.reply-to";
    let consumed =
        channel.basic_consume(reply_to.into(), "".into(), options, FieldTable::default());
    let mut replies = consumed.await.unwrap();
    let plain = r#"{"sender":"shop","type":"payments.echo","target":"payments","payload":{"a":1}}"#;
    for (body, ending, contains) in
        [(plain, ".reply", r#"{"a":1}"#), ("{", ".error", r#""kind":"invalid""#)]
    {
        let properties = BasicProperties::default()
            .with_reply_to(reply_to.into())
            .with_correlation_id("any id of theirs".into())
            .with_type("payments.echo".into());
        let (exchange, queue) = ("".into(), "payments.requests".into());
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange, queue, options, body.as_bytes(), properties).await.unwrap();
        let reply = timeout(SOON, replies.next()).await.unwrap().unwrap().unwrap();
        let text = |property: &Option<lapin::types::ShortString>| property.clone().unwrap();
        assert_eq!(text(reply.properties.correlation_id()).as_str(), "any id of theirs");
        assert!(text(reply.properties.kind()).as_str().ends_with(ending), "{reply:?}");
        let data = Bytes::from(reply.data);
        assert!(String::from_utf8_lossy(&data).contains(contains), "{data:?}");
    }
}
