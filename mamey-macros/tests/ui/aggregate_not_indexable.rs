//! Ids and indexed fields have a type that every store orders.

use mamey_macros::Aggregate;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Status {
    Open,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct Order {
    #[aggregate(id)]
    id: i64,
    #[aggregate(index)]
    status: Status,
}

fn main() {}
