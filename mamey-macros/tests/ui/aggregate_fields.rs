//! Indexed fields become columns beside those that every collection has.

use mamey_macros::Aggregate;
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct Order {
    #[aggregate(id, index)]
    number: i64,
    #[aggregate(index, unique)]
    customer: String,
    #[aggregate(index)]
    id: i64,
    #[aggregate(unique)]
    version: i64,
    #[aggregate(index)]
    data: String,
    #[aggregate(index)]
    _hidden: String,
    #[allow(non_snake_case)]
    #[aggregate(index)]
    Status: String,
    #[aggregate(indexed)]
    total: i64,
    #[aggregate(index = true)]
    paid: bool,
}

fn main() {}
