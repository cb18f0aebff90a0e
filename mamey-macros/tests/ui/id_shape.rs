//! An id wraps one value of a type that every store orders.

use mamey_macros::Id;
use uuid::Uuid;

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct TooLarge(u64);

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct Float(f64);

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct Tuple((i64, i64));

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct Pair(Uuid, Uuid);

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct Named {
    value: Uuid,
}

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
enum Variants {
    One,
}

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct OverTypes<T>(T);

#[derive(Clone, Id)]
#[id(prefix = "order", crate = mamey_core)]
struct UnknownOption(Uuid);

#[derive(Clone, Id)]
#[id(crate = mamey_core)]
struct AttributeOnField(#[id(crate = mamey_core)] Uuid);

fn main() {}
