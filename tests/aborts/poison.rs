//! Messages whose handlers end the process: a bounded number of ends, then dead letters that say so, and
//! their neighbours take effect once and in order.

use mamey::RetryPolicy;
use mamey_test_support::{postgres, rabbitmq, require};

use crate::place::Place;
use crate::state::State;
use crate::step::{ARMED, How, Step};

/// One end while many are in hand, then those that are counted.
const ENDS_MAX: u32 = 1 + RetryPolicy::ABORTS;

/// How many keys have nothing but steps that are handled.
const NEIGHBOURS: u64 = 30;

const STEPS_OF_EACH: u64 = 4;

fn key_of(poison: usize) -> String {
    format!("poisoned-{poison}")
}

/// Steps of many keys, in turns; the second step of some keys is one of these.
fn steps(poisons: &[How]) -> Vec<Step> {
    let mut steps = Vec::new();
    for number in 1..=STEPS_OF_EACH {
        for (at, how) in poisons.iter().enumerate() {
            let how = if number == 2 { *how } else { How::Handle };
            steps.push(Step { key: key_of(at), number, how });
        }
        for neighbour in 0..NEIGHBOURS {
            steps.push(Step { key: format!("key-{neighbour}"), number, how: How::Handle });
        }
    }
    steps
}

fn is_done(poisons: usize) -> impl Fn(&State) -> bool {
    let healthy = healthy(poisons);
    move |state| state.handled >= healthy && state.letters.len() >= poisons && state.parked == 0
}

fn healthy(poisons: usize) -> u64 {
    (NEIGHBOURS + poisons as u64) * STEPS_OF_EACH - poisons as u64
}

fn check(state: &State, poisons: usize) {
    assert_eq!((state.handled, state.out_of_order), (healthy(poisons), 0), "{state:?}");
    let mut keys: Vec<_> = state.letters.iter().map(|letter| letter.key.clone()).collect();
    keys.sort();
    assert_eq!(keys, (0..poisons).map(key_of).collect::<Vec<_>>());
    for letter in &state.letters {
        assert_eq!(letter.reason, "aborted", "{letter:?}");
        let says =
            format!("the process ended while its handler ran, {} times", RetryPolicy::ABORTS);
        assert!(letter.text.contains(&says), "{letter:?}");
    }
}

/// Runs until all is done, and checks what became of each message.
async fn a_poison_is_given_up(place: Place, processes: &[&'static str]) {
    let (ends, state) = place.run(processes, is_done(1)).await;
    assert!((2..=ENDS_MAX).contains(&ends), "{ends} ends");
    check(&state, 1);
}

macro_rules! on_postgres {
    ($steps:expr) => {
        Place::embedded($steps).on_postgres(require!(postgres::database().await))
    };
}

macro_rules! over_rabbitmq {
    ($place:expr) => {
        $place.over_rabbitmq(require!(rabbitmq::vhost().await))
    };
}

#[tokio::test]
async fn it_is_given_up_on_sqlite_in_process() {
    a_poison_is_given_up(Place::embedded(&steps(&[How::Abort])), &["a"]).await;
}

#[tokio::test]
async fn it_is_given_up_when_it_overflows_the_stack() {
    a_poison_is_given_up(Place::embedded(&steps(&[How::OverflowTheStack])), &["a"]).await;
}

#[tokio::test]
async fn it_is_given_up_on_sqlite_over_rabbitmq() {
    let place = over_rabbitmq!(Place::embedded(&steps(&[How::Abort])));
    a_poison_is_given_up(place, &["a"]).await;
}

#[tokio::test]
async fn it_is_given_up_on_postgres_in_process() {
    a_poison_is_given_up(on_postgres!(&steps(&[How::Abort])), &["a"]).await;
}

#[tokio::test]
async fn it_is_given_up_on_postgres_over_rabbitmq() {
    let place = over_rabbitmq!(on_postgres!(&steps(&[How::Abort])));
    a_poison_is_given_up(place, &["a"]).await;
}

#[tokio::test]
async fn it_is_given_up_by_two_instances_in_process() {
    a_poison_is_given_up(on_postgres!(&steps(&[How::Abort])), &["a", "b"]).await;
}

#[tokio::test]
async fn it_is_given_up_by_two_instances_over_rabbitmq() {
    let place = over_rabbitmq!(on_postgres!(&steps(&[How::Abort])));
    a_poison_is_given_up(place, &["a", "b"]).await;
}

/// Each is found: of those that were in hand together, only the guilty are given up.
#[tokio::test]
async fn several_are_given_up_and_none_of_their_neighbours() {
    let poisons = [How::Abort; 3];
    let place = Place::embedded(&steps(&poisons));
    let (ends, state) = place.run(&["a"], is_done(poisons.len())).await;
    assert!(ends <= ENDS_MAX * 3, "{ends} ends");
    check(&state, poisons.len());
}

/// One that is parked already, because its handler failed before.
async fn a_parked_one_is_given_up(place: Place) {
    let mut process = place.start("a");
    let quiet = |state: &State| state.parked == STEPS_OF_EACH - 1 && state.handled > NEIGHBOURS;
    place.until(&mut process, "it is parked, and its lane behind it", quiet).await;
    process.end();
    place.make(ARMED);
    let (ends, state) = place.run(&["a"], is_done(1)).await;
    assert!((2..=RetryPolicy::ABORTS).contains(&ends), "{ends} ends");
    check(&state, 1);
}

#[tokio::test]
async fn a_parked_one_is_given_up_on_sqlite_in_process() {
    a_parked_one_is_given_up(Place::embedded(&steps(&[How::FailThenAbort]))).await;
}

#[tokio::test]
async fn a_parked_one_is_given_up_on_postgres_in_process() {
    a_parked_one_is_given_up(on_postgres!(&steps(&[How::FailThenAbort]))).await;
}

#[tokio::test]
async fn a_parked_one_is_given_up_on_postgres_over_rabbitmq() {
    let place = over_rabbitmq!(on_postgres!(&steps(&[How::FailThenAbort])));
    a_parked_one_is_given_up(place).await;
}
