//! A message whose handler ends the process is parked before the broker gives it up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mamey::message::ContextName;
use mamey::messaging::{RabbitOptions, RabbitTransport};
use mamey::transport::Transport;
use mamey::{BoundedContext, Context, Event, Result, RunningService, Service, Settings};
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

/// Still runs when its process ends, until it is fixed.
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
        .with_lease(Duration::from_millis(500))
        .with_poll(Duration::from_millis(50));
    let service = Service::new(settings).store_url(store).transport(transport.clone());
    (service.host(sender).host(receiver).start().await.unwrap(), transport)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_ends_the_process_is_parked_before_the_broker_gives_it_up() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    let begun = async || RUNS_BEGUN.load(Ordering::Acquire);
    for run in 1..=RUNS {
        let (service, transport) = start(database.url(), vhost.url()).await;
        if run == 1 {
            service.send(Poison).await.unwrap();
        }
        until_reaches("runs", run, begun).await;
        // As when a process is killed: no delivery is settled, no lease is released.
        drop(service);
        transport.close().await;
    }
    let (service, transport) = start(database.url(), vhost.url()).await;
    let parked = async || service.totals().await.unwrap().parked;
    until_reaches("parked", 1, parked).await;
    // It is retried from parking, where the broker counts no deliveries.
    IS_FIXED.store(true, Ordering::Release);
    let handled = async || service.totals().await.unwrap().handled;
    until_reaches("handled", 1, handled).await;
    assert_eq!(service.totals().await.unwrap().dead_letters, 0);
    let receiver = ContextName::new("limit-receiver").unwrap();
    let given_up = transport.rejected(&receiver).unwrap().count().await.unwrap();
    assert_eq!(given_up, 0, "the broker dead-lettered it");
    service.shutdown().await.unwrap();
}
