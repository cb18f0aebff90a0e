//! A deployment and its rollback: nothing is lost, handled twice, out of order or given up.

use std::time::Duration;

use mamey_test_support::{postgres, rabbitmq, require};

use crate::builds::{Build, new, old, patient};
use crate::till::Needs;
use crate::world::{World, dead_letters, due_heads, entries, until};

/// So that few rounds are sent until the new build has its share of the partitions.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(300);

/// More than the policy of the new build's own handler allows it.
const ATTEMPTS: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_build_cannot_handle_waits_for_the_other() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    let mut world = World::new(database, vhost).await;
    let first = world.start(old::build(patient())).await;
    let second = world.start(new::build(patient())).await;
    let both = [Needs::New, Needs::Old];
    until("both builds handle messages", async || {
        world.send(&both).await;
        tokio::time::sleep(BETWEEN_ROUNDS).await;
        let mut handled = Vec::new();
        for needs in both {
            handled.extend(entries(&second, needs).await.into_iter().flatten());
        }
        [Build::Old, Build::New].iter().all(|build| handled.iter().any(|it| it.by == *build))
    })
    .await;
    until("the old build has tried often", async || {
        let heads = due_heads(&second).await;
        heads.iter().any(|it| it.attempts > ATTEMPTS && it.failure.kind == "unreadable")
    })
    .await;

    // The deployment ends.
    first.shutdown().await.unwrap();
    let forward = world.complete(&second, Needs::New).await;
    // And is rolled back.
    let third = world.start(old::build(patient())).await;
    second.shutdown().await.unwrap();
    let backward = world.complete(&third, Needs::Old).await;

    for (needs, accounts, build) in
        [(Needs::New, forward, Build::New), (Needs::Old, backward, Build::Old)]
    {
        for entry in accounts.into_iter().flatten() {
            let at = entry.number % needs.each();
            assert!(needs.is_for_any(at) || entry.by == build, "{needs:?} {entry:?}");
        }
    }
    third.wait_until_idle().await.unwrap();
    let totals = third.totals().await.unwrap();
    assert_eq!((totals.dead_letters, totals.parked), (0, 0), "{:?}", dead_letters(&third).await);
    third.shutdown().await.unwrap();
    world.end().await;
}
