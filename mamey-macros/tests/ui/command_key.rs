//! Keys that name no field.

use mamey_macros::Command;

#[derive(Clone, Command)]
#[command(key = order, crate = mamey_core)]
struct NoSuchField {
    order_id: u64,
    customer: u64,
}

#[derive(Clone, Command)]
#[command(key = 1, crate = mamey_core)]
struct NoSuchPlace(u64);

#[derive(Clone, Command)]
#[command(key = id, crate = mamey_core)]
struct NoFields;

#[derive(Clone, Command)]
#[command(key = "order_id", crate = mamey_core)]
struct FieldInQuotes {
    order_id: u64,
}

#[derive(Clone, Command)]
#[command(key = id, crate = mamey_core)]
enum Variants {
    One { id: u64 },
}

fn main() {}
