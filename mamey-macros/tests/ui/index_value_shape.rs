//! An indexable type has one stored value for each of its own: what serde writes.

use mamey_macros::IndexValue;
use serde::Serialize;

#[derive(Clone, Serialize, IndexValue)]
#[index_value(crate = mamey_core)]
enum Status {
    Open,
    Paid(u64),
    #[serde(rename = "Open")]
    Reopened,
    #[serde(rename = "")]
    Nameless,
    #[index_value(name = "gone")]
    Closed,
    #[serde(rename(serialize = "lost", deserialize = "gone"))]
    Lost,
    #[serde(skip)]
    Hidden,
    #[serde(serialize_with = "write")]
    Special,
    #[serde(untagged)]
    Bare,
}

fn write<S: serde::Serializer>(_to: S) -> Result<S::Ok, S::Error> {
    unimplemented!()
}

#[derive(Clone, Serialize, IndexValue)]
#[index_value(crate = mamey_core)]
#[serde(tag = "kind")]
enum Tagged {
    Open,
}

#[derive(Clone, Serialize, IndexValue)]
#[index_value(crate = mamey_core)]
#[serde(untagged)]
enum Untagged {
    Open,
}

#[derive(Clone, Serialize, IndexValue)]
#[index_value(crate = mamey_core)]
#[serde(into = "u8")]
enum Numbered {
    Open,
}

impl From<Numbered> for u8 {
    fn from(_: Numbered) -> Self {
        0
    }
}

#[derive(Clone, Serialize, IndexValue)]
#[index_value(crate = mamey_core)]
#[serde(rename_all(serialize = "camelCase"))]
enum Sides {
    OutOfStock,
}

#[derive(Clone, Serialize, IndexValue)]
#[index_value(crate = mamey_core)]
struct Simple(#[serde(with = "uuid::serde::simple")] uuid::Uuid);

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
