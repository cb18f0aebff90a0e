//! An indexable type has one stored value for each of its own.

use mamey_macros::IndexValue;

#[derive(Clone, IndexValue)]
#[index_value(crate = mamey_core)]
enum Status {
    Open,
    Paid(u64),
    #[index_value(name = "open")]
    Reopened,
    #[index_value(name = "")]
    Nameless,
    #[index_value(rename = "gone")]
    Closed,
}

#[derive(Clone, IndexValue)]
#[index_value(crate = mamey_core)]
enum NoVariants {}

#[derive(Clone, IndexValue)]
#[index_value(crate = mamey_core)]
struct Pair(u32, u32);

#[derive(Clone, IndexValue)]
#[index_value(crate = mamey_core)]
struct Unit;

#[derive(Clone, IndexValue)]
#[index_value(crate = mamey_core)]
struct OverTypes<T>(T);

fn main() {}
