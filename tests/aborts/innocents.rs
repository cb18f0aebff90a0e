//! Processes that are killed again and again while messages are in hand: none of these is given up.

use mamey_test_support::{postgres, rabbitmq, require};

use crate::place::Place;
use crate::step::{How, OPEN, Step};

const MESSAGES: u64 = 64;

/// How often the process is killed.
const KILLS: u32 = 5;

/// How many parked messages are handled at a time, of 16: with more than half of them in hand, no others
/// are looked for.
const RETRIES: u64 = 9;

fn waiting_steps() -> Vec<Step> {
    let step = |at| Step { key: format!("key-{at}"), number: 1, how: How::Wait };
    (0..MESSAGES).map(step).collect()
}

/// All are in hand at the first kill, and as many as can be at each later one.
async fn none_is_given_up(place: Place) {
    for kill in 0..KILLS {
        let mut process = place.start("a");
        let in_hand = if kill == 0 { MESSAGES } else { RETRIES };
        place.until(&mut process, "many are in hand", |it| it.waiting >= in_hand).await;
        process.kill();
    }
    place.make(OPEN);
    let mut process = place.start("a");
    place.until(&mut process, "all are handled", |state| state.handled >= MESSAGES).await;
    let state = place.state("a");
    assert_eq!((state.handled, state.out_of_order, state.letters.len()), (MESSAGES, 0, 0));
    assert!(state.aborted > 0, "{state:?}");
    process.end();
}

#[tokio::test]
async fn none_is_given_up_on_sqlite_in_process() {
    none_is_given_up(Place::embedded(&waiting_steps())).await;
}

#[tokio::test]
async fn none_is_given_up_on_postgres_in_process() {
    let database = require!(postgres::database().await);
    none_is_given_up(Place::embedded(&waiting_steps()).on_postgres(database)).await;
}

#[tokio::test]
async fn none_is_given_up_on_postgres_over_rabbitmq() {
    let (database, vhost) =
        (require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let place = Place::embedded(&waiting_steps()).on_postgres(database).over_rabbitmq(vhost);
    none_is_given_up(place).await;
}
