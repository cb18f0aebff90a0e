//! A rejection is an error with a message for people.

use mamey_macros::Rejection;

#[derive(Debug, Rejection)]
#[rejection(code = "orders.empty", crate = mamey_core)]
struct Empty;

fn main() {}
