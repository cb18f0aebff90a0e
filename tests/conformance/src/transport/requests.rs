//! Requests: whose reply it is, and what happens when none comes.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::message::{Envelope, Target};
use mamey_core::transport::Responder;
use mamey_core::{ErrorKind, Retry};

use super::fixture::{context, message, new_id};
use super::harness::TransportHarness;

const PRICE: &str = "catalog.get-price";
const ECHO: &[u8] = b"1";
const WAIT: &[u8] = br#""wait""#;
const PANIC: &[u8] = br#""panic""#;

/// Long enough for any server, and below the limit of a case.
const PATIENT: Duration = Duration::from_secs(30);

/// Answers each request with its own payload.
#[derive(Default)]
struct Catalog {
    gate: Gate,
    arrived: Gate,
    finished: AtomicUsize,
    got: Mutex<Vec<Envelope>>,
}

/// Holds its callers until it is opened.
#[derive(Default)]
struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        gate.1.drain(..).for_each(Waker::wake);
    }

    async fn opened(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl Responder for Catalog {
    fn serves(&self) -> Vec<&'static str> {
        vec![PRICE]
    }

    async fn respond(&self, request: Envelope) -> Envelope {
        self.got.lock().unwrap().push(request.clone());
        if request.payload == WAIT {
            self.arrived.open();
            self.gate.opened().await;
        }
        assert!(request.payload != PANIC, "on purpose");
        self.finished.fetch_add(1, Ordering::SeqCst);
        let answer = request.payload.clone();
        request.reply(&context("catalog"), new_id(), SystemClock.now(), Ok(answer))
    }
}

fn request(target: &str, payload: impl Into<Bytes>) -> Envelope {
    let target = Target::Service(context(target));
    Envelope::new(message(PRICE, target, None).metadata, payload.into())
}

fn ask(payload: &'static [u8]) -> Envelope {
    request("catalog", payload)
}

/// A reply arrives, and the request's metadata with it on its way there.
pub async fn a_request_gets_its_reply(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let sent = ask(br#"{"sku":"tea"}"#);
    let reply = transport.requester().request(&sent, PATIENT).await.unwrap();
    assert_eq!(*catalog.got.lock().unwrap(), std::slice::from_ref(&sent));
    assert_eq!(&*reply.metadata.sender, "catalog");
    assert_eq!(reply.metadata.tenant, sent.metadata.tenant);
    assert_eq!(reply.metadata.trace, sent.metadata.trace);
    assert_eq!(reply.into_answer(&sent.metadata).unwrap(), sent.payload);
    assert_eq!(transport.requester().totals().replied, 1);
}

/// Requests that are in flight together get their own replies, in whichever order they come.
pub async fn requests_in_flight_get_their_own_replies(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let requester = transport.requester();
    let answer = async |payload: Bytes| {
        let request = request("catalog", payload.clone());
        let reply = requester.request(&request, PATIENT).await.unwrap();
        assert_eq!(reply.into_answer(&request.metadata).unwrap(), payload);
    };
    let rest = async {
        catalog.arrived.opened().await;
        join_all((0..50).map(|number| answer(Bytes::from(number.to_string())))).await;
        catalog.gate.open();
    };
    join(answer(Bytes::from_static(WAIT)), rest).await;
}

/// After its timeout a request is over: its late reply is counted and dropped.
pub async fn a_late_reply_is_counted_and_dropped(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let requester = transport.requester();
    // Connected before, so that the timeout passes on the other side.
    requester.request(&ask(ECHO), PATIENT).await.unwrap();
    let error = requester.request(&ask(WAIT), Duration::from_millis(500)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TimedOut, Retry::Later));
    assert!(error.to_string().contains("`catalog`"), "{error}");
    assert_eq!(requester.totals().timed_out, 1);
    catalog.arrived.opened().await;
    catalog.gate.open();
    while requester.totals().late_replies == 0 {
        let next = ask(ECHO);
        let reply = requester.request(&next, PATIENT).await.unwrap();
        assert_eq!(reply.into_answer(&next.metadata).unwrap(), ECHO);
    }
    assert_eq!(requester.totals().late_replies, 1);
}

/// What no context serves is refused, naming the request and the context.
pub async fn a_request_that_nobody_serves_is_unroutable(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let requester = transport.requester();
    let (nobody, somebody) = (request("warehouse", ECHO), ask(ECHO));
    let (refused, answered) =
        join(requester.request(&nobody, PATIENT), requester.request(&somebody, PATIENT)).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unroutable);
    let text = error.to_string();
    assert!(text.contains(PRICE) && text.contains("`warehouse`"), "{text}");
    answered.unwrap().into_answer(&somebody.metadata).unwrap();
}

/// A panic of the responder is the reply to its own request, and to no other.
pub async fn a_responder_that_panics_fails_its_request_alone(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let requester = transport.requester();
    let (waits, panics) = (ask(WAIT), ask(PANIC));
    let panic = async {
        catalog.arrived.opened().await;
        let reply = requester.request(&panics, PATIENT).await.unwrap();
        let error = reply.into_answer(&panics.metadata).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        catalog.gate.open();
    };
    let (reply, ()) = join(requester.request(&waits, PATIENT), panic).await;
    assert_eq!(reply.unwrap().into_answer(&waits.metadata).unwrap(), WAIT);
}

/// Closing ends every request that waits; later ones fail.
pub async fn closing_ends_every_request_that_waits(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let requester = transport.requester();
    let waits = ask(WAIT);
    let close = async {
        catalog.arrived.opened().await;
        transport.close().await;
    };
    let (ended, ()) = join(requester.request(&waits, PATIENT), close).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    let later = requester.request(&ask(ECHO), PATIENT).await;
    assert_eq!(later.unwrap_err().kind(), ErrorKind::Unavailable);
    catalog.gate.open();
}

/// A responder that stops answers the requests it has taken and takes no more; another instance of
/// its context does.
pub async fn a_responder_that_stops_answers_what_it_has_taken(harness: TransportHarness) {
    let transport = &*harness.transport;
    let catalog = Arc::new(Catalog::default());
    let serving = transport.serve(&context("catalog"), catalog.clone()).await.unwrap();
    let requester = transport.requester();
    let waits = ask(WAIT);
    let stop = async {
        catalog.arrived.opened().await;
        let mut stopping = Box::pin(serving.stop());
        assert!((&mut stopping).now_or_never().is_none(), "it did not wait for what runs");
        catalog.gate.open();
        stopping.await;
        assert_eq!(catalog.finished.load(Ordering::SeqCst), 1);
    };
    let (reply, ()) = join(requester.request(&waits, PATIENT), stop).await;
    assert_eq!(reply.unwrap().into_answer(&waits.metadata).unwrap(), WAIT);
    let refused = requester.request(&ask(ECHO), PATIENT).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unroutable);
    let other = Arc::new(Catalog::default());
    let _serving = transport.serve(&context("catalog"), other.clone()).await.unwrap();
    requester.request(&ask(ECHO), PATIENT).await.unwrap();
    assert_eq!(other.finished.load(Ordering::SeqCst), 1);
    assert_eq!(catalog.finished.load(Ordering::SeqCst), 1);
}
