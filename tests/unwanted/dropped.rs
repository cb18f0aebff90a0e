//! One build at a time: what waits of a message that it ignores is dropped and counted by name.

use mamey::messaging;
use mamey::persistence::{PostgresDatabase, PostgresOptions};
use mamey::store::DECLARED_FOR;
use mamey::transport::Routed;
use mamey::{BoundedContext, RunningService, Service, Unhandled};
use mamey_test_support::{postgres, rabbitmq, require};

use crate::domain::{
    CONTEXT, Handled, PARTITIONS, Placed, clock, payments, publish, settings, until,
};

const ORDERS: u32 = 20;
const ALL: u64 = ORDERS as u64;

/// An earlier build handled them, and is gone. Then one runs that does not.
async fn after_another(
    vhost: &rabbitmq::Vhost,
    store: &str,
    build: BoundedContext,
) -> RunningService {
    let broker = messaging::connect(vhost.url()).await.unwrap();
    let earlier = Handled::default().context().topology(PARTITIONS).unwrap();
    broker.apply(&earlier).await.unwrap();
    for order in 0..ORDERS {
        assert_eq!(publish(&*broker.publisher(), order).await, Routed::Delivered);
    }
    broker.close().await;
    Service::new(settings(store, vhost.url())).host(build).start().await.unwrap()
}

async fn is_dropped(service: RunningService) {
    let all = async || service.totals().await.unwrap().ignored.total() >= ALL;
    until("what waited is dropped", all).await;
    let totals = service.totals().await.unwrap();
    let ignored: Vec<_> = totals.ignored.by_name().collect();
    assert_eq!(ignored, [("orders.placed", ALL)]);
    assert_eq!((totals.parked, totals.dead_letters, totals.unhandled.total()), (0, 0, 0));
    assert_eq!(service.store(CONTEXT).unwrap().received_count().await.unwrap(), ALL);
    service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_context_ignores_is_unbound_and_dropped() {
    for build in [payments().forgets("orders.placed"), payments().ignores::<Placed>()] {
        let vhost = require!(rabbitmq::vhost().await);
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("shop.db").display());
        let service = after_another(&vhost, &store, build).await;
        let routed = publish(&*service.publisher(), ORDERS).await;
        assert_eq!(routed, Routed::NoSubscriber, "nothing leads it here any more");
        is_dropped(service).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_handles_is_dropped_if_the_context_says_so() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    let build = payments().unhandled(Unhandled::Drop);
    is_dropped(after_another(&vhost, database.url(), build).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_handles_is_kept_and_counted_once_by_name() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    let service = after_another(&vhost, database.url(), payments()).await;
    let store = service.store(CONTEXT).unwrap();
    let tried = async || {
        let partitions = mamey::message::Partition::all(PARTITIONS).unwrap();
        let parked = store.due_parked(&partitions, 1000).await.unwrap();
        parked.iter().any(|it| it.attempts > 3)
    };
    until("some were tried several times", tried).await;
    let totals = service.totals().await.unwrap();
    let unhandled: Vec<_> = totals.unhandled.by_name().collect();
    assert_eq!(unhandled, [("orders.placed", ALL)]);
    let kept = (totals.parked, totals.dead_letters, totals.ignored.total());
    assert_eq!(kept, (ALL, 0, 0));
    service.shutdown().await.unwrap();
}

/// In one process nothing arrives that is not handled, but what an earlier build has parked waits.
async fn parked_is_dropped(mut start: impl AsyncFnMut(BoundedContext) -> RunningService) {
    let before = start(Handled::failing().context()).await;
    let sent = (0..ORDERS).map(async |order| publish(&*before.publisher(), order).await);
    futures_util::future::join_all(sent).await;
    let parked = async || before.totals().await.unwrap().parked == ALL;
    until("all are parked", parked).await;
    before.shutdown().await.unwrap();
    is_dropped(start(payments().ignores::<Placed>()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_build_has_parked_is_dropped_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    let clock = clock();
    parked_is_dropped(async |build| {
        // The earlier build is gone for long enough.
        clock.advance(DECLARED_FOR);
        let service = Service::new(settings(&store, "memory:")).clock(clock.clone());
        service.host(build).start().await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_build_has_parked_is_dropped_on_postgres() {
    let database = require!(postgres::database().await);
    let clock = clock();
    parked_is_dropped(async |build| {
        clock.advance(DECLARED_FOR);
        let options = PostgresOptions::default().with_clock(clock.clone());
        let store = PostgresDatabase::connect(database.url(), options).await.unwrap();
        let service = Service::new(settings(database.url(), "memory:")).store(store);
        service.host(build).start().await.unwrap()
    })
    .await;
}

#[test]
fn a_message_cannot_be_handled_and_ignored() {
    let both = Handled::default().context().ignores::<Placed>();
    let error = both.check().unwrap_err().to_string();
    for word in ["`orders.placed`", ".on(…)", ".ignores::<…>()", ".forgets(…)"] {
        assert!(error.contains(word), "{error}");
    }
    assert!(payments().forgets("Not A Name").check().is_err());
}
