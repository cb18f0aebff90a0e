//! When no build comes that can: a dead letter at the retry policy's end, which says what is missing.

use mamey::store::{DeadLetter, DeadLetterReason};
use mamey_test_support::{postgres, rabbitmq, require};

use crate::builds::{Build, new, old, short};
use crate::till::Needs;
use crate::world::{World, dead_letters, entries, until};

/// One run as it arrives, and one after each of the policy's three pauses.
const RUNS: u32 = 4;

/// What each kind of message lacks in the old build.
const LACKS: [(&str, &str); 3] = [
    ("till.refunded", "context `ledger` has no handler for message `till.refunded`: add `.on("),
    ("till.moved", "unknown variant `Swift`"),
    ("till.priced", "version 2 of `till.priced` is unknown here"),
];

fn check(letter: &DeadLetter) {
    let name = &*letter.envelope.metadata.name;
    let (_, lack) = LACKS.into_iter().find(|(lacking, _)| *lacking == name).unwrap();
    assert_eq!(
        (letter.reason, letter.attempts),
        (DeadLetterReason::Unreadable, RUNS),
        "{letter:?}"
    );
    assert_eq!(letter.failure.kind, "unreadable");
    assert!(letter.failure.message.contains(lack), "{letter:?}");
    assert!(letter.first_failed < letter.last_failed, "it was parked before: {letter:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_build_can_handle_is_given_up_by_the_policys_end_and_says_what_is_missing() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    let mut world = World::new(database, vhost).await;
    // Its bindings stay when it is rolled back.
    world.start(new::build(short())).await.shutdown().await.unwrap();
    let only = world.start(old::build(short())).await;
    world.send(&[Needs::New]).await;
    let accounts = entries(&only, Needs::New).await.len();
    let given_up = accounts * LACKS.len();
    until("all is given up", async || dead_letters(&only).await.len() >= given_up).await;
    only.wait_until_idle().await.unwrap();
    let letters = dead_letters(&only).await;
    assert_eq!(letters.len(), given_up);
    letters.iter().for_each(check);
    for entries in entries(&only, Needs::New).await {
        let numbers: Vec<(u32, Build)> = entries.iter().map(|it| (it.number, it.by)).collect();
        assert_eq!(numbers, [(0, Build::Old), (4, Build::Old)], "the lane goes on");
    }
    only.shutdown().await.unwrap();

    // The right build comes later, and what was given up is replayed.
    let late = world.start(new::build(short())).await;
    let store = late.store("ledger").unwrap();
    for letter in letters {
        assert!(store.replay_dead_letter(letter.identity).await.unwrap());
    }
    let sent = world.sent(Needs::New) as usize;
    let replayed = async || entries(&late, Needs::New).await.iter().all(|it| it.len() >= sent);
    until("all is replayed", replayed).await;
    late.wait_until_idle().await.unwrap();
    for entries in entries(&late, Needs::New).await {
        let mut numbers: Vec<u32> = entries.iter().map(|entry| entry.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4], "each once");
    }
    assert!(dead_letters(&late).await.is_empty());
    late.shutdown().await.unwrap();
    world.end().await;
}
