//! Every refusal has a stable code of its own.

use mamey_macros::Rejection;

#[derive(Debug, thiserror::Error, Rejection)]
#[rejection(crate = mamey_core)]
enum OrderError {
    #[error("no lines")]
    EmptyOrder,
    #[error("too large")]
    #[rejection(code = "Orders.TooLarge")]
    TooLarge,
    #[error("late")]
    #[rejection(code = "orders.late")]
    Late,
    #[error("very late")]
    #[rejection(code = "orders.late")]
    VeryLate,
    #[error("other")]
    #[rejection(kode = "orders.other")]
    Other,
    #[error("both")]
    #[rejection(code = "orders.both", transparent)]
    Both(u32),
    #[error("pair")]
    #[rejection(transparent)]
    Pair(u32, u32),
    #[error("unit")]
    #[rejection(transparent)]
    Unit,
}

#[derive(Debug, thiserror::Error, Rejection)]
#[error("no code")]
struct WithoutCode;

#[derive(Debug, thiserror::Error, Rejection)]
#[rejection(code = "orders.any", crate = mamey_core)]
enum CodeOnEnum {
    #[error("any")]
    Any,
}

#[derive(Debug, Rejection)]
#[rejection(crate = mamey_core)]
enum NoVariants {}

#[derive(Debug, thiserror::Error, Rejection)]
#[error("inner")]
#[rejection(code = "orders.inner", crate = mamey_core)]
struct AttributeOnField(#[rejection(transparent)] u64);

fn main() {}
