//! A command must be `Clone`, because a conflict runs its handler again.

use mamey_macros::Command;

#[derive(Command)]
#[command(reply = u64, crate = mamey_core)]
struct PlaceOrder;

fn main() {}
