//! How much is parked because it is slow, and what a key that is only too frequent does to others.

use std::time::Duration;

use mamey::ContextSettings;
use mamey_test_support::{rabbitmq, require};

use crate::domain::{Before, Gate, shop, slow};
use crate::world::{SLOW, World, names, settings, slow_waits, until};

const PARKED_MAX: u64 = 40;
const FLOOD: i64 = 100;

/// Of these, some are in the partition of the slow one and some in the other.
const OTHERS: usize = 12;

fn before(article: &str) -> Before {
    if article.starts_with("broken") { Before::Fail } else { slow_waits(article) }
}

/// What is slow may fill half of the parking. Then it holds up its own partition, and messages that
/// fail are still parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_leaves_half_of_the_parking_to_messages_that_fail() {
    let (vhost, gate) = (require!(rabbitmq::vhost().await), Gate::closed(before));
    let bounded = ContextSettings::default().with_parked_messages_max(PARKED_MAX).with_prefetch(8);
    let settings = settings().with_partitions(2).with_context("slow", bounded);
    let world = World::start("memory:", vhost.url(), settings, [shop(), slow(&gate)]).await;
    let ledger = world.service.store("slow").unwrap();
    world.sell(&[SLOW.to_owned()], FLOOD).await;
    let parked = async || ledger.parked_count().await.unwrap();
    until("the flood is parked", async || parked().await >= PARKED_MAX / 2).await;
    world.until_published().await;

    let broken: Vec<_> = (0..OTHERS).map(|number| format!("broken {number}")).collect();
    world.sell(&broken, 1).await;
    world.sell(&names(OTHERS), 1).await;
    let mut most = 0;
    until("those of the other partition are handled, or parked if they fail", async || {
        most = parked().await.max(most);
        let mut kept = 0;
        for article in names(OTHERS) {
            kept += world.kept_by_slow(&article).await.len();
        }
        let failed = broken.iter().filter(|it| gate.runs(it).iter().any(|runs| *runs > 3)).count();
        kept > 0 && failed > 0 && parked().await > PARKED_MAX / 2
    })
    .await;
    assert!(most <= PARKED_MAX / 2 + OTHERS as u64, "{most} were parked");
    assert!(gate.runs(SLOW) == [1], "the rest of the flood waits");

    gate.open();
    world.until_slow_has(&[SLOW.to_owned()], FLOOD).await;
    world.until_slow_has(&names(OTHERS), 1).await;
    world.until_slow_has(&broken, 1).await;
    world.end().await;
}

fn slow_takes_a_moment(article: &str) -> Before {
    match article {
        SLOW => Before::Sleep(Duration::from_millis(20)),
        _ => Before::Nothing,
    }
}

/// No handler of the key is slow, but there are so many messages of it that others would wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_only_too_frequent_lets_others_pass() {
    let (vhost, gate) = (require!(rabbitmq::vhost().await), Gate::closed(slow_takes_a_moment));
    let patient = ContextSettings::default().with_slow_after(Duration::from_millis(500));
    let settings = settings().with_partitions(1).with_all_contexts(patient).with_context(
        "slow",
        ContextSettings::default().with_slow_after(Duration::from_millis(100)),
    );
    let world = World::start("memory:", vhost.url(), settings, [shop(), slow(&gate)]).await;
    world.sell(&[SLOW.to_owned()], FLOOD * 6).await;
    world.until_published().await;
    world.sell(&names(OTHERS), 1).await;
    world.until_slow_has(&names(OTHERS), 1).await;
    let so_far = world.kept_by_slow(SLOW).await.len() as i64;
    assert!(so_far < FLOOD * 3, "{so_far} of the frequent key came first");
    world.until_slow_has(&[SLOW.to_owned()], FLOOD * 6).await;
    world.end().await;
}
