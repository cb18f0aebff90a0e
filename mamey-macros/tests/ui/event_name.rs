//! Names that cannot stand on the wire.

use mamey_macros::{Event, Message};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
struct OrderPlaced;

#[derive(Event, Serialize, Deserialize)]
#[event(must_route, crate = mamey_core)]
struct OrderPaid;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "order-placed", crate = mamey_core)]
struct WithoutContext;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders::OrderPlaced", crate = mamey_core)]
struct RustPath;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.", crate = mamey_core)]
struct EmptyWord;

#[derive(Message, Serialize, Deserialize)]
struct TakePayment;

#[derive(Message, Serialize, Deserialize)]
#[message(name = "Take Payment", crate = mamey_core)]
struct Spaces;

fn main() {}
