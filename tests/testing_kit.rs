//! The testing kit as a service's own tests use it, its failure messages included.

#![cfg(feature = "testing")]

use std::time::Duration;

use mamey::testing::{START, scenario, test_context};
use mamey::{
    Aggregate, BoundedContext, Command, Context, ErrorKind, Event, Message, Query, ReadContext,
    Rejection, Result,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Command)]
#[command(reply = u32)]
struct Place {
    id: String,
    units: u32,
}

#[derive(Clone, Command)]
struct Cancel {
    id: String,
}

#[derive(Query)]
#[query(reply = u32)]
struct UnitsOf(String);

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "orders.placed", key = id)]
struct Placed {
    id: String,
    units: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "stock.taken", key = id)]
struct Taken {
    id: String,
}

#[derive(Message, Serialize, Deserialize)]
#[message(name = "billing.bill")]
struct Bill {
    id: String,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders")]
struct Order {
    #[aggregate(id)]
    id: String,
    units: u32,
    taken: bool,
}

#[derive(Debug, thiserror::Error, Rejection)]
#[error("an order needs units")]
#[rejection(code = "orders.empty")]
struct Empty;

async fn place(command: Place, cx: &Context) -> Result<u32> {
    let Place { id, units } = command;
    if units == 0 {
        return Err(Empty.into());
    }
    cx.publish(&Placed { id: id.clone(), units })?;
    cx.repository().add(&Order { id, units, taken: false })?;
    Ok(units)
}

async fn cancel(command: Cancel, cx: &Context) -> Result<()> {
    let orders = cx.repository::<Order>();
    let order = orders.load(&command.id).await?;
    cx.send("billing", &Bill { id: command.id })?;
    orders.remove(&order)
}

async fn units_of(query: UnitsOf, cx: &ReadContext) -> Result<u32> {
    Ok(cx.repository::<Order>().load(&query.0).await?.units)
}

async fn on_taken(event: Taken, cx: &Context) -> Result<()> {
    let orders = cx.repository::<Order>();
    let mut order = orders.load(&event.id).await?;
    order.taken = true;
    orders.save(&order)
}

fn orders() -> BoundedContext {
    BoundedContext::new("orders")
        .aggregate::<Order>()
        .command(place)
        .command(cancel)
        .query(units_of)
        .on(on_taken)
        .publishes::<Placed>()
}

fn id() -> String {
    "o1".to_owned()
}

fn order() -> Order {
    Order { id: id(), units: 3, taken: false }
}

#[tokio::test]
async fn a_command_replies_publishes_and_stores() {
    let mut scenario = scenario(orders()).await;
    let outcome = scenario.when(Place { id: id(), units: 2 }).await;
    outcome
        .then_reply(2)
        .then_publishes(&[&Placed { id: id(), units: 2 }])
        .then_stored::<Order>(&id(), |order| assert_eq!(order.units, 2))
        .await;
}

#[tokio::test]
async fn a_rejection_stores_and_publishes_nothing() {
    let mut scenario = scenario(orders()).await;
    let outcome = scenario.when(Place { id: id(), units: 0 }).await;
    outcome
        .then_rejected("orders.empty")
        .then_publishes_nothing()
        .then_absent::<Order>(&id())
        .await;
}

#[tokio::test]
async fn what_was_given_is_there() {
    let mut scenario = scenario(orders()).await.given(&order()).given_handled(&Taken { id: id() });
    scenario.when(Place { id: id(), units: 1 }).await.then_fails(ErrorKind::AlreadyExists);
    scenario.when_query(UnitsOf(id())).await.then_reply(3);
    let cancelled = scenario.when(Cancel { id: id() }).await;
    cancelled.then_sends("billing", &[&Bill { id: id() }]).then_absent::<Order>(&id()).await;
    scenario.when_message(&Taken { id: id() }).await.then_fails(ErrorKind::NotFound);
}

#[tokio::test]
#[should_panic(expected = "orders.placed")]
async fn another_event_than_expected_is_named() {
    let mut scenario = scenario(orders()).await;
    let outcome = scenario.when(Place { id: id(), units: 2 }).await;
    outcome.then_publishes(&[&Placed { id: id(), units: 3 }]);
}

#[tokio::test]
#[should_panic(expected = "an order needs units")]
async fn an_unexpected_failure_is_shown() {
    scenario(orders()).await.when(Place { id: id(), units: 0 }).await.then_reply(3);
}

#[tokio::test]
async fn a_handler_is_called_as_the_function_it_is() {
    let cx = test_context(orders()).await;
    cx.given(&order()).await;
    assert_eq!(units_of(UnitsOf(id()), &cx).await.unwrap(), 3);
    place(Place { id: "n".into(), units: 5 }, &cx).await.unwrap();
    assert_eq!(cx.published::<Placed>(), [Placed { id: "n".into(), units: 5 }]);
    assert_eq!(cx.now(), START);
    cx.clock().advance(Duration::from_secs(1));
    assert!(cx.now() > START);
}
