//! Lifting needs a version above the old one's.

use mamey_macros::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", from = OrderPlacedV1, crate = mamey_core)]
struct WithoutVersion;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", version = 1, from = OrderPlacedV1, crate = mamey_core)]
struct FirstVersion;

fn main() {}
