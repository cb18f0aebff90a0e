//! Several instances of one service: they share the work, and take over from each other.

use crate::fleet::Fleet;
use crate::on_each_fleet;
use crate::world::{On, until};

/// Enough for each instance to have streams in its partitions.
const STREAMS: usize = 24;
const NUMBERS: i64 = 24;

on_each_fleet! {
    two_instances_share_few_partitions
    three_instances_share_fewer_partitions_than_they_are
    three_instances_share_many_partitions
    a_late_instance_takes_over_its_share
    a_crashed_instance_is_replaced_when_its_leases_have_expired
    an_instance_that_leaves_in_order_hands_over_at_once
    handlers_that_fail_at_random_change_neither_order_nor_count
}

async fn fleet_of(on: On, instances: usize, partitions: u16) -> Fleet {
    let mut fleet = Fleet::new(on, partitions).await;
    for _ in 0..instances {
        fleet.join().await;
    }
    fleet
}

/// The partitions are still moving when the first numbers are emitted.
async fn share(on: On, instances: usize, partitions: u16) {
    let fleet = fleet_of(on, instances, partitions).await;
    fleet.emit(STREAMS, 0..NUMBERS / 2).await;
    fleet.balanced().await;
    fleet.emit(STREAMS, NUMBERS / 2..NUMBERS).await;
    fleet.check(STREAMS, NUMBERS).await;
}

async fn two_instances_share_few_partitions(on: On) {
    share(on, 2, 3).await;
}

async fn three_instances_share_fewer_partitions_than_they_are(on: On) {
    share(on, 3, 2).await;
}

async fn three_instances_share_many_partitions(on: On) {
    share(on, 3, 64).await;
}

async fn a_late_instance_takes_over_its_share(on: On) {
    let mut fleet = fleet_of(on, 2, 8).await;
    fleet.balanced().await;
    // Every stream has a message in its handler while partitions are asked for.
    fleet.script.hold();
    fleet.emit(STREAMS, 0..8).await;
    until("every stream has a running handler", async || fleet.script.held() == STREAMS).await;
    fleet.join().await;
    fleet.emit(STREAMS, 8..16).await;
    fleet.script.let_go();
    fleet.emit(STREAMS, 16..NUMBERS).await;
    fleet.balanced().await;
    fleet.check(STREAMS, NUMBERS).await;
}

async fn a_crashed_instance_is_replaced_when_its_leases_have_expired(on: On) {
    let mut fleet = fleet_of(on, 3, 8).await;
    fleet.balanced().await;
    fleet.script.hold();
    fleet.emit(STREAMS, 0..8).await;
    until("every stream has a running handler", async || fleet.script.held() == STREAMS).await;
    fleet.crash(0);
    until("its handlers are gone", async || fleet.script.held() < STREAMS).await;
    fleet.script.let_go();
    fleet.emit(STREAMS, 8..NUMBERS).await;
    let complete = async || {
        let received = futures_util::future::join_all((0..STREAMS).map(|it| fleet.received(it)));
        received.await.iter().filter(|numbers| numbers.len() as i64 == NUMBERS).count()
    };
    until("the others continue", async || complete().await > 0).await;
    assert!(complete().await < STREAMS, "partitions were taken before their leases had expired");
    fleet.clock.start();
    fleet.balanced().await;
    fleet.check(STREAMS, NUMBERS).await;
}

async fn an_instance_that_leaves_in_order_hands_over_at_once(on: On) {
    let mut fleet = fleet_of(on, 3, 8).await;
    fleet.balanced().await;
    fleet.emit(STREAMS, 0..8).await;
    let leaving = fleet.instances.remove(0);
    // The clock of the leases stands still: what is taken over was released.
    let (left, ()) = tokio::join!(leaving.service.shutdown(), fleet.emit(STREAMS, 8..NUMBERS));
    left.unwrap();
    fleet.check(STREAMS, NUMBERS).await;
    fleet.balanced().await;
}

async fn handlers_that_fail_at_random_change_neither_order_nor_count(on: On) {
    let mut fleet = fleet_of(on, 3, 8).await;
    fleet.script.fail_at_random(30);
    fleet.emit(STREAMS, 0..8).await;
    fleet.leave(1).await;
    fleet.script.fail_at_random(10);
    fleet.emit(STREAMS, 8..16).await;
    fleet.join().await;
    fleet.crash(0);
    fleet.clock.start();
    fleet.emit(STREAMS, 16..NUMBERS).await;
    fleet.check(STREAMS, NUMBERS).await;
}
