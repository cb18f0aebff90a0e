//! Mistakes in a declaration are reported before anything runs, all of them at once.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::criteria::{Collection, Value, ValueType};
use mamey_core::message::{CatalogEntry, Direction};
use mamey_core::{Aggregate, Command, Context, ErrorKind, Event, Message, Result};
use mamey_cqrs::{BoundedContext, CONFLICT_RETRIES_MAX, Resources};
use serde::{Deserialize, Serialize};

use crate::no_store::NoStore;

#[derive(Clone)]
struct PlaceOrder;

impl Message for PlaceOrder {
    const NAME: &'static str = "place-order";
}

impl Command for PlaceOrder {
    type Reply = ();
}

#[derive(Clone)]
struct Shout;

impl Message for Shout {
    const NAME: &'static str = "Shout Loud";
}

impl Command for Shout {
    type Reply = ();
}

#[derive(Serialize, Deserialize)]
struct OrderPlaced;

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.order-placed";
}

impl Event for OrderPlaced {}

#[derive(Serialize, Deserialize)]
struct Order(String);

impl Aggregate for Order {
    type Id = String;

    const COLLECTION: &'static Collection = &Collection::new("orders", ValueType::Text);

    fn id(&self) -> &String {
        &self.0
    }

    fn index_values(&self) -> Vec<Value> {
        Vec::new()
    }
}

async fn place_order(_: PlaceOrder, _: &Context) -> Result<()> {
    Ok(())
}

async fn shout(_: Shout, _: &Context) -> Result<()> {
    Ok(())
}

async fn on_order_placed(_: OrderPlaced, _: &Context) -> Result<()> {
    Ok(())
}

fn orders() -> BoundedContext {
    BoundedContext::new("orders")
        .aggregate::<Order>()
        .command(place_order)
        .on(on_order_placed)
        .publishes::<OrderPlaced>()
}

#[test]
fn a_declaration_lists_what_stores_and_transports_need() {
    let context = orders();
    assert_eq!(context.name(), "orders");
    assert_eq!(context.schema().unwrap().collections, [Order::COLLECTION]);
    let topology = context.topology(8).unwrap();
    assert_eq!(topology.handles, ["orders.order-placed"]);
    assert_eq!(topology.publishes, ["orders.order-placed"]);
    assert_eq!(topology.partitions, 8);
    let catalog: Vec<CatalogEntry> = context.catalog().iter().cloned().collect();
    let expected = [
        CatalogEntry::of::<PlaceOrder>(Direction::Command),
        CatalogEntry::of::<OrderPlaced>(Direction::Handles),
        CatalogEntry::of::<OrderPlaced>(Direction::Publishes),
    ];
    assert_eq!(catalog, expected);
}

#[test]
fn every_mistake_is_named_with_its_fix() {
    let context = orders()
        .aggregate::<Order>()
        .command(place_order)
        .command(shout)
        .on(on_order_placed)
        .publishes::<OrderPlaced>()
        .timeout(Duration::ZERO)
        .conflict_retries(CONFLICT_RETRIES_MAX + 1);
    let error = context.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let text = error.to_string();
    for part in [
        "two handlers for command `place-order` in context `orders`: remove one registration",
        "two handlers for message `orders.order-placed` in context `orders`",
        "two declarations of published event `orders.order-placed`",
        "two aggregates in collection `orders`",
        "`Shout Loud` cannot name a message",
        "a timeout of zero",
        "1001 retries on conflict",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(context.schema().is_err() && context.topology(1).is_err());
    assert!(context.open(Resources::new(Arc::new(NoStore))).is_err());
}

#[test]
fn a_name_that_no_backend_accepts_is_refused() {
    let error = BoundedContext::new("Orders & Co").check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("`Orders & Co` cannot name a context"), "{error}");
}
