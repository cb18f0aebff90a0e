//! Messages are concrete types that own their data.

use mamey_macros::{Command, Event, Message, Query};

#[derive(Clone, Command)]
#[command(crate = mamey_core)]
struct Borrowing<'a> {
    customer: &'a str,
}

#[derive(Query)]
#[query(crate = mamey_core)]
struct OverTypes<T>(T);

#[derive(Event)]
#[event(name = "orders.order-placed", crate = mamey_core)]
struct OverNumbers<const N: usize>;

#[derive(Message)]
#[message(name = "orders.order-placed", crate = mamey_core)]
union Overlaid {
    one: u32,
    two: f32,
}

#[derive(Query)]
#[query(crate = mamey_core)]
struct AttributeOnField {
    #[query(key)]
    customer: u64,
}

fn main() {}
