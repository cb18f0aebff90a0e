//! An aggregate is a concrete struct with a collection and one id.

use mamey_macros::Aggregate;
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(crate = mamey_core)]
struct OrderLine {
    #[aggregate(id)]
    id: i64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "Orders", crate = mamey_core)]
struct Capitals {
    #[aggregate(id)]
    id: i64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct WithoutId {
    id: i64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct TwoIds {
    #[aggregate(id)]
    id: i64,
    #[aggregate(id)]
    number: i64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
enum Variants {
    One { id: i64 },
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct WithoutNames(#[aggregate(id)] i64);

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct OverTypes<T> {
    #[aggregate(id)]
    id: T,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(id, crate = mamey_core)]
struct IdOnType {
    id: i64,
}

fn main() {}
