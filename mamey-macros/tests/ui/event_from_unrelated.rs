//! The old and the new type of a message have one name, and growing versions.

use mamey_macros::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.placed", crate = mamey_core)]
struct OrderPlacedV1;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", version = 2, from = OrderPlacedV1, crate = mamey_core)]
struct OrderPlaced;

impl From<OrderPlacedV1> for OrderPlaced {
    fn from(_: OrderPlacedV1) -> Self {
        Self
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-paid", version = 2, crate = mamey_core)]
struct OrderPaidV2;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-paid", version = 2, from = OrderPaidV2, crate = mamey_core)]
struct OrderPaid;

impl From<OrderPaidV2> for OrderPaid {
    fn from(_: OrderPaidV2) -> Self {
        Self
    }
}

fn main() {}
