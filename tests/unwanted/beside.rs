//! Two builds side by side: the one that ignores a message leaves it to the one that handles it.

use std::sync::Arc;
use std::time::Duration;

use mamey::clock::{Clock, ManualClock};
use mamey::persistence::{PostgresDatabase, PostgresOptions};
use mamey::store::{AWAITED_FOR, DECLARED_EVERY, DECLARED_FOR};
use mamey::transport::Routed;
use mamey::{BoundedContext, RunningService, Service};
use mamey_test_support::{postgres, rabbitmq, require};

use crate::domain::{CONTEXT, Handled, Placed, clock, payments, publish, settings, until};

const ORDERS: u32 = 200;

/// One database and one broker, whose store takes its time from the test.
struct World {
    database: postgres::Database,
    vhost: rabbitmq::Vhost,
    clock: Arc<ManualClock>,
    published: u32,
}

impl World {
    fn new(database: postgres::Database, vhost: rabbitmq::Vhost) -> Self {
        Self { database, vhost, clock: clock(), published: 0 }
    }

    async fn start(&self, build: BoundedContext) -> RunningService {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let options = PostgresOptions::default().with_clock(clock);
        let database = PostgresDatabase::connect(self.database.url(), options).await.unwrap();
        let settings = settings(self.database.url(), self.vhost.url());
        Service::new(settings).store(database).host(build).start().await.unwrap()
    }

    async fn publish(&mut self, by: &RunningService) {
        for order in self.published..self.published + ORDERS {
            assert_eq!(publish(&*by.publisher(), order).await, Routed::Delivered, "order {order}");
        }
        self.published += ORDERS;
    }

    /// Waits until everything was handled, while the clock goes on so that what is parked comes due.
    async fn handled_by(&self, handled: &Handled) {
        let all = async || {
            self.clock.advance(Duration::from_millis(200));
            handled.orders().len() == self.published as usize
        };
        until("every order is handled", all).await;
    }
}

async fn ignored(service: &RunningService) -> u64 {
    service.totals().await.unwrap().ignored.total()
}

/// The build without the handler runs first, and again beside the one that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_is_added_while_a_build_that_ignores_runs() {
    let (database, vhost) =
        (require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let mut world = World::new(database, vhost);
    let without = world.start(payments().ignores::<Placed>()).await;
    assert_eq!(publish(&*without.publisher(), 0).await, Routed::NoSubscriber);
    world.clock.advance(DECLARED_EVERY);
    let handled = Handled::default();
    let with = world.start(handled.context()).await;
    world.publish(&with).await;
    let parked = async || without.totals().await.unwrap().parked > 0;
    until("the other build has its share", parked).await;
    // The new build is restarted, for longer than an instance is silent, and so is the old one.
    with.shutdown().await.unwrap();
    world.clock.advance(DECLARED_FOR * 4);
    without.shutdown().await.unwrap();
    let without = world.start(payments().ignores::<Placed>()).await;
    world.publish(&without).await;
    let with = world.start(handled.context()).await;
    assert_eq!(ignored(&without).await, 0);
    without.shutdown().await.unwrap();
    world.handled_by(&handled).await;
    with.wait_until_idle().await.unwrap();
    let totals = with.totals().await.unwrap();
    let each_once = (totals.handled, totals.dead_letters, totals.ignored.total());
    assert_eq!(each_once, (u64::from(world.published), 0, 0));
    // It is rolled back for good.
    with.shutdown().await.unwrap();
    world.clock.advance(AWAITED_FOR * 2);
    let without = world.start(payments().ignores::<Placed>()).await;
    assert_eq!(publish(&*without.publisher(), 0).await, Routed::NoSubscriber);
    without.shutdown().await.unwrap();
}

/// The build with the handler goes on until it is gone; then the other one drops what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_is_removed_while_the_build_that_has_it_runs() {
    let (database, vhost) =
        (require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let mut world = World::new(database, vhost);
    let handled = Handled::default();
    let with = world.start(handled.context()).await;
    world.clock.advance(DECLARED_EVERY);
    let without = world.start(payments().ignores::<Placed>()).await;
    world.publish(&without).await;
    let parked = async || without.totals().await.unwrap().parked > 0;
    until("the other build has its share", parked).await;
    let settled = async || {
        let totals = with.totals().await.unwrap();
        totals.handled + totals.parked == u64::from(ORDERS)
    };
    until("each is handled or waits", settled).await;
    assert_eq!(ignored(&without).await, 0, "a build that runs handles them");
    with.shutdown().await.unwrap();
    let done = handled.orders().len() as u64;
    world.clock.advance(DECLARED_FOR + DECLARED_EVERY);
    let unbound = async || {
        let order = world.published;
        world.published += 1;
        publish(&*without.publisher(), order).await == Routed::NoSubscriber
    };
    until("nothing leads them here any more", unbound).await;
    // The last one had no subscriber.
    let delivered = u64::from(world.published - 1);
    let each = async || ignored(&without).await + done == delivered;
    until("each is handled or dropped", each).await;
    let received = without.store(CONTEXT).unwrap().received_count().await.unwrap();
    assert_eq!(received, delivered);
    let totals = without.totals().await.unwrap();
    assert_eq!((totals.parked, totals.dead_letters), (0, 0));
    without.shutdown().await.unwrap();
}
