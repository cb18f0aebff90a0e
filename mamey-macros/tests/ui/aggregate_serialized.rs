//! A store reads indexed fields from the document, so serde must write them under one known name.

#![allow(unreachable_patterns)]

use mamey_macros::Aggregate;
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders", crate = mamey_core)]
struct Order {
    #[aggregate(id)]
    id: i64,
    #[aggregate(index)]
    #[serde(skip)]
    skipped: String,
    #[aggregate(index)]
    #[serde(skip_serializing)]
    unwritten: String,
    #[aggregate(index)]
    #[serde(skip_deserializing)]
    unread: String,
    #[aggregate(index)]
    #[serde(skip_serializing_if = "String::is_empty", default)]
    sometimes: String,
    #[aggregate(index)]
    #[serde(with = "other")]
    other: i64,
    #[aggregate(index)]
    #[serde(serialize_with = "other::serialize")]
    special: i64,
    #[aggregate(index)]
    #[serde(flatten)]
    spread: String,
    #[aggregate(index)]
    #[serde(rename(serialize = "out", deserialize = "in"))]
    sides: i64,
    #[aggregate(index)]
    #[serde(rename = "größe")]
    size: i64,
    #[aggregate(index)]
    #[serde(rename = "data")]
    payload: i64,
}

mod other {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
        number.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        i64::deserialize(from)
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "ids", crate = mamey_core)]
struct HiddenId {
    #[aggregate(id)]
    #[serde(skip)]
    id: i64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "twice", crate = mamey_core)]
struct Twice {
    #[aggregate(id)]
    id: i64,
    #[aggregate(index)]
    name: String,
    #[serde(rename = "name")]
    title: String,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "tagged", crate = mamey_core)]
#[serde(tag = "kind")]
struct Tagged {
    #[aggregate(id)]
    id: i64,
    #[aggregate(index)]
    kind: String,
}

#[derive(Clone, Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "others", crate = mamey_core)]
#[serde(into = "Other", from = "Other")]
struct Converted {
    #[aggregate(id)]
    id: i64,
    #[aggregate(index)]
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Other(i64, String);

impl From<Converted> for Other {
    fn from(from: Converted) -> Self {
        Self(from.id, from.name)
    }
}

impl From<Other> for Converted {
    fn from(from: Other) -> Self {
        Self { id: from.0, name: from.1 }
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "sides", crate = mamey_core)]
#[serde(rename_all(serialize = "camelCase"))]
struct Sides {
    #[aggregate(id)]
    id: i64,
    #[aggregate(index)]
    due_at: i64,
}

fn main() {}
