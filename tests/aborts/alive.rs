//! What looks like the end of a process and is none: shutdowns, lost leases, lost connections.

use mamey_test_support::{FaultProxy, Mode, postgres, rabbitmq, require};
use tokio::time::sleep;

use crate::place::{LEASE, Place};
use crate::step::{ARMED, How, OPEN, Step};

/// More than a message may end processes.
const TIMES: u32 = 5;

fn step(key: &str, how: How) -> Step {
    Step { key: key.to_owned(), number: 1, how }
}

/// A shutdown that cuts off handlers, of a delivered message and of a parked one.
async fn shutdowns_count_nothing(place: Place) {
    let mut process = place.start("a");
    place.until(&mut process, "one is parked", |it| it.parked == 1 && it.waiting == 1).await;
    place.make(ARMED);
    for _ in 0..TIMES {
        place.until(&mut process, "both are in hand", |state| state.waiting == 2).await;
        let status = process.end();
        // It has cut off the handlers, and says so.
        assert_eq!(status.code(), Some(1), "{status}");
        process = place.start("a");
    }
    place.make(OPEN);
    place.until(&mut process, "both are handled", |state| state.handled == 2).await;
    let state = place.state("a");
    assert_eq!((state.suspects, state.aborted, state.letters.len()), (0, 0, 0), "{state:?}");
    process.end();
}

fn both() -> [Step; 2] {
    [step("delivered", How::Wait), step("parked", How::FailThenWait)]
}

#[tokio::test]
async fn shutdowns_count_nothing_on_sqlite_in_process() {
    shutdowns_count_nothing(Place::embedded(&both())).await;
}

#[tokio::test]
async fn shutdowns_count_nothing_on_postgres_over_rabbitmq() {
    let (database, vhost) =
        (require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let place = Place::embedded(&both()).on_postgres(database).over_rabbitmq(vhost);
    shutdowns_count_nothing(place).await;
}

/// An instance that is paused past its lease seems to have ended; when it goes on, it has not.
#[tokio::test]
async fn lost_leases_give_up_nothing() {
    let database = require!(postgres::database().await);
    let place = Place::embedded(&[step("parked", How::FailThenWait)]).on_postgres(database);
    let mut active = place.start("a");
    place.until(&mut active, "it is parked", |state| state.parked == 1).await;
    let mut other = place.start("b");
    place.make(ARMED);
    loop {
        sleep(LEASE / 10).await;
        let waiting = [&active, &other].map(|it| place.state(it.name()).waiting);
        match waiting {
            [0, 0] => {}
            [_, 0] => break,
            _ => {
                std::mem::swap(&mut active, &mut other);
                break;
            }
        }
    }
    for _ in 0..TIMES {
        active.signal("STOP");
        place.until(&mut other, "the other takes over", |state| state.waiting == 1).await;
        active.signal("CONT");
        // It asks for its leases again, and what was counted for it is taken back.
        sleep(LEASE).await;
        // A new one takes its place, since its own handler still runs.
        let name = active.name();
        assert_eq!(active.end().code(), Some(1));
        active = std::mem::replace(&mut other, place.start(name));
    }
    place.make(OPEN);
    place.until(&mut active, "it is handled", |state| state.handled == 1).await;
    let state = place.state(active.name());
    assert_eq!((state.letters.len(), state.out_of_order, state.parked), (0, 0, 0), "{state:?}");
    active.end();
    other.end();
}

/// What comes again after a lost connection was in hand of a process that goes on.
#[tokio::test]
async fn lost_connections_count_nothing() {
    let (database, vhost) =
        (require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let url = proxy.url_for(vhost.url()).unwrap();
    let steps: Vec<_> = (0..10).map(|at| step(&format!("key-{at}"), How::Wait)).collect();
    let place = Place::embedded(&steps).on_postgres(database).over_rabbitmq(vhost).through(url);
    let mut process = place.start("a");
    for _ in 0..TIMES {
        place.until(&mut process, "all are in hand", |state| state.waiting == 10).await;
        let earlier = place.state("a").subscription_failures;
        // A reset finds no connection until the last one was made anew.
        while place.state("a").subscription_failures == earlier {
            proxy.set(Mode::Reset).await.unwrap();
            proxy.set(Mode::Forward).await.unwrap();
            sleep(LEASE / 10).await;
        }
    }
    place.make(OPEN);
    place.until(&mut process, "all are handled", |state| state.handled == 10).await;
    let state = place.state("a");
    assert_eq!((state.suspects, state.aborted, state.letters.len()), (0, 0, 0), "{state:?}");
    assert_eq!(state.out_of_order, 0);
    process.end();
}
