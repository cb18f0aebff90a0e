//! An id is `Clone`.

use mamey_macros::Id;
use uuid::Uuid;

#[derive(Id)]
#[id(crate = mamey_core)]
struct OrderId(Uuid);

fn main() {}
