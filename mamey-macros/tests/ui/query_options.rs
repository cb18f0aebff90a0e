//! Options of a query that it does not have.

use mamey_macros::Query;

#[derive(Query)]
#[query(key = id, crate = mamey_core)]
struct FindOrder {
    id: u64,
}

#[derive(Query)]
#[query(reply = "u64", crate = mamey_core)]
struct CountOrders;

fn main() {}
