//! Lifting needs a `From` of the old type.

use mamey_macros::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", crate = mamey_core)]
struct OrderPlacedV1;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", version = 2, from = OrderPlacedV1, crate = mamey_core)]
struct OrderPlaced;

fn main() {}
