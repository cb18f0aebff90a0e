//! The key of a message must print.

use mamey_macros::Command;

#[derive(Clone)]
struct Opaque;

#[derive(Clone, Command)]
#[command(key = customer, crate = mamey_core)]
struct PlaceOrder {
    customer: Opaque,
}

fn main() {}
