//! Messages without a route: they wait in the outbox, in order, and hold up their own key only.

use mamey::{BoundedContext, Command, Context, Event, Message, Query, ReadContext, Result};
use mamey::{MessageHandler, RunningService};
use serde::{Deserialize, Serialize};

use crate::domain::Stream;
use crate::faults::Faults;
use crate::fleet::Fleet;
use crate::on_each_fleet;
use crate::world::{On, until};

on_each_fleet! {
    a_message_for_an_absent_context_stalls_its_own_key_until_the_context_is_there
    an_event_that_must_route_waits_for_its_subscriber
    an_event_without_subscriber_counts_as_done
}

/// Sends a task to a context by name.
#[derive(Clone, Command)]
struct HandOut {
    target: &'static str,
    key: &'static str,
    number: i64,
}

/// Publishes an event that must route, or one that need not.
#[derive(Clone, Command)]
struct Announce(bool, i64);

#[derive(Query)]
#[query(reply = Vec<i64>)]
struct Done(&'static str);

#[derive(Message, Serialize, Deserialize)]
#[message(name = "office.task", key = key)]
struct Task {
    key: String,
    number: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "office.alarm-raised", key = key, must_route)]
struct AlarmRaised {
    key: String,
    number: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "office.gossip-heard", key = key)]
struct GossipHeard {
    key: String,
}

fn office() -> BoundedContext {
    BoundedContext::new("office")
        .command(hand_out)
        .command(announce)
        .publishes::<AlarmRaised>()
        .publishes::<GossipHeard>()
}

/// A context that records the tasks and alarms that reach it.
fn desk(name: &str) -> BoundedContext {
    BoundedContext::new(name)
        .aggregate::<Stream>()
        .on::<Task, _>(Record)
        .on::<AlarmRaised, _>(Record)
        .query(done)
}

async fn hand_out(command: HandOut, cx: &Context) -> Result<()> {
    let HandOut { target, key, number } = command;
    cx.send(target, &Task { key: key.to_owned(), number })
}

async fn announce(command: Announce, cx: &Context) -> Result<()> {
    let (Announce(must_route, number), key) = (command, "a".to_owned());
    match must_route {
        true => cx.publish(&AlarmRaised { key, number }),
        false => cx.publish(&GossipHeard { key }),
    }
}

async fn done(query: Done, cx: &ReadContext) -> Result<Vec<i64>> {
    let stream = cx.repository::<Stream>().get(&query.0.to_owned()).await?;
    Ok(stream.map(|stream| stream.numbers.clone()).unwrap_or_default())
}

struct Record;

impl MessageHandler<Task> for Record {
    async fn handle(&self, task: Task, cx: &Context) -> Result<()> {
        crate::domain::append(cx, &task.key, task.number).await.map(drop)
    }
}

impl MessageHandler<AlarmRaised> for Record {
    async fn handle(&self, alarm: AlarmRaised, cx: &Context) -> Result<()> {
        crate::domain::append(cx, &alarm.key, alarm.number).await.map(drop)
    }
}

struct Office {
    fleet: Fleet,
    service: RunningService,
}

impl Office {
    async fn open(on: On, desks: &[&str]) -> Self {
        let fleet = Fleet::new(on, 4).await;
        // Stalled messages are due by the store's clock.
        fleet.clock.start();
        let contexts = desks.iter().map(|name| desk(name)).chain([office()]);
        let service = fleet.host(Faults::default(), contexts.collect::<Vec<_>>()).await;
        Self { fleet, service }
    }

    async fn hand_out(&self, target: &'static str, key: &'static str, number: i64) {
        self.service.send(HandOut { target, key, number }).await.unwrap();
    }

    async fn waiting(&self) -> u64 {
        self.service.store("office").unwrap().outbox_depth().await.unwrap().records
    }

    async fn confirmed(&self) -> u64 {
        self.service.store("office").unwrap().outbox_depth().await.unwrap().published
    }
}

async fn done_at(service: &RunningService, desk: &str, key: &'static str) -> Vec<i64> {
    service.context(desk).unwrap().query(Done(key)).await.unwrap()
}

async fn a_message_for_an_absent_context_stalls_its_own_key_until_the_context_is_there(on: On) {
    let office = Office::open(on, &["present"]).await;
    for number in 0..5 {
        office.hand_out("absent", "a", number).await;
        // The same key: it waits, although its own target is there.
        office.hand_out("present", "a", 10 + number).await;
        office.hand_out("present", "b", number).await;
    }
    let present = async |key| done_at(&office.service, "present", key).await;
    until("the other key continues", async || present("b").await == [0, 1, 2, 3, 4]).await;
    until("it has left the outbox", async || office.confirmed().await == 5).await;
    assert_eq!(office.waiting().await, 10);
    assert!(present("a").await.is_empty());
    let late = office.fleet.host(Faults::default(), [desk("absent")]).await;
    until("all is published", async || office.waiting().await == 0).await;
    assert_eq!(done_at(&late, "absent", "a").await, [0, 1, 2, 3, 4]);
    assert_eq!(present("a").await, [10, 11, 12, 13, 14]);
    assert_eq!(office.confirmed().await, 15);
}

async fn an_event_that_must_route_waits_for_its_subscriber(on: On) {
    let office = Office::open(on, &[]).await;
    for number in 0..3 {
        office.service.send(Announce(true, number)).await.unwrap();
    }
    // A message of another kind and key shows that the relay has run since.
    let late = office.fleet.host(Faults::default(), [receiver_of_tasks()]).await;
    office.hand_out("other", "b", 7).await;
    until("the other key continues", async || office.confirmed().await == 1).await;
    assert_eq!(done_at(&late, "other", "b").await, [7]);
    assert_eq!(office.waiting().await, 3);
    assert_eq!(office.service.totals().await.unwrap().no_subscriber, 0);
    let late = office.fleet.host(Faults::default(), [desk("subscriber")]).await;
    until("all is published", async || office.waiting().await == 0).await;
    assert_eq!(done_at(&late, "subscriber", "a").await, [0, 1, 2]);
}

/// It does not subscribe to alarms.
fn receiver_of_tasks() -> BoundedContext {
    BoundedContext::new("other").aggregate::<Stream>().on::<Task, _>(Record).query(done)
}

async fn an_event_without_subscriber_counts_as_done(on: On) {
    let office = Office::open(on, &["present"]).await;
    for number in 0..3 {
        office.service.send(Announce(false, number)).await.unwrap();
        office.service.send(Announce(true, number)).await.unwrap();
    }
    until("all is published", async || office.waiting().await == 0).await;
    assert_eq!(done_at(&office.service, "present", "a").await, [0, 1, 2]);
    let totals = office.service.totals().await.unwrap();
    assert_eq!((totals.no_subscriber, totals.published, totals.handled), (3, 6, 3));
}
