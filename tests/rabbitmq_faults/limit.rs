//! A message that goes back to its queue again and again is parked before the broker gives it up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mamey::message::ContextName;
use mamey::messaging::{RabbitOptions, RabbitTransport};
use mamey::transport::{RejectReason, Transport};
use mamey::{BoundedContext, Context, ErrorKind, Event, Result, RunningService, Service, Settings};
use mamey_test_support::{postgres, rabbitmq, require};
use serde::{Deserialize, Serialize};

use crate::outcome::until_reaches;

/// How many deliveries without an outcome the broker allows; a message is parked after half as many.
const LIMIT: u16 = 4;

/// How often the handler runs until then.
const RUNS: u64 = 2;

static RUNS_BEGUN: AtomicU64 = AtomicU64::new(0);

/// From then on the handler returns.
static IS_FIXED: AtomicBool = AtomicBool::new(false);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "limit-sender.poisoned", must_route)]
struct Poisoned;

#[derive(Clone, mamey::Command)]
struct Poison;

async fn poison(_: Poison, cx: &Context) -> Result<()> {
    cx.publish(&Poisoned)
}

/// Still runs when its service shuts down, until it is fixed.
async fn on_poisoned(_: Poisoned, _: &Context) -> Result<()> {
    RUNS_BEGUN.fetch_add(1, Ordering::AcqRel);
    while !IS_FIXED.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn start(store: &str, broker: &str) -> (RunningService, RabbitTransport) {
    let options = RabbitOptions::default().with_delivery_limit(LIMIT);
    let transport = RabbitTransport::connect(broker, options).await.unwrap();
    let sender = BoundedContext::new("limit-sender").command(poison).publishes::<Poisoned>();
    let receiver = BoundedContext::new("limit-receiver").on(on_poisoned);
    let settings = Settings::default()
        .with_drain(Duration::from_millis(500))
        .with_poll(Duration::from_millis(50));
    let service = Service::new(settings).store_url(store).transport(transport.clone());
    (service.host(sender).host(receiver).start().await.unwrap(), transport)
}

/// Runs the handler until the message is near its limit: each shutdown cuts it off, and releases the
/// leases, so that no instance has left anything behind.
async fn return_until_near_the_limit(store: &str, broker: &str) {
    let begun = async || RUNS_BEGUN.load(Ordering::Acquire);
    for run in 1..=RUNS {
        let (service, _) = start(store, broker).await;
        if run == 1 {
            service.send(Poison).await.unwrap();
        }
        until_reaches("runs", run, begun).await;
        let error = service.shutdown().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
}

async fn rejected_by_receiver(transport: &RabbitTransport) -> Vec<RejectReason> {
    let receiver = ContextName::new("limit-receiver").unwrap();
    let rejected = transport.rejected(&receiver).unwrap().list(None, 10).await.unwrap();
    rejected.into_iter().map(|message| message.reason).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_returned_many_times_is_parked_before_the_broker_gives_it_up() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    return_until_near_the_limit(database.url(), vhost.url()).await;
    let (service, transport) = start(database.url(), vhost.url()).await;
    let suspects = async || service.totals().await.unwrap().suspects;
    until_reaches("suspects", 1, suspects).await;
    // It is retried from parking, where the broker counts no deliveries.
    IS_FIXED.store(true, Ordering::Release);
    let handled = async || service.totals().await.unwrap().handled;
    until_reaches("handled", 1, handled).await;
    let totals = service.totals().await.unwrap();
    assert_eq!((totals.dead_letters, totals.aborted), (0, 0));
    assert_eq!(rejected_by_receiver(&transport).await, [], "the broker dead-lettered it");
    service.shutdown().await.unwrap();
}

/// In parking it would be lost with the next process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_its_limit_the_broker_keeps_what_a_store_in_memory_would_lose() {
    let vhost = require!(rabbitmq::vhost().await);
    return_until_near_the_limit("memory:", vhost.url()).await;
    let (service, transport) = start("memory:", vhost.url()).await;
    let kept = async || rejected_by_receiver(&transport).await.len() as u64;
    until_reaches("kept by the broker", 1, kept).await;
    assert_eq!(rejected_by_receiver(&transport).await, [RejectReason::DeliveryLimit]);
    assert_eq!(RUNS_BEGUN.load(Ordering::Acquire), RUNS, "its handler does not run once more");
    service.shutdown().await.unwrap();
}
