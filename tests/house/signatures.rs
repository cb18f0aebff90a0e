//! The types of other crates that stand in public signatures: each ties our versions to theirs.

use std::collections::{BTreeMap, BTreeSet};

use crate::foreign::foreign;
use crate::tree::Crate;
use crate::workspace::{published, root};

/// What may stand there, and why.
const ALLOWED: [(&str, &str); 16] = [
    ("async_trait::async_trait", "layers and backends are written with it"),
    ("bytes::Bytes", "payloads and documents are shared without copying them"),
    ("futures_util::stream::Stream", "the trait that everybody's streams have"),
    ("garde::Validate", "the feature `validation` checks what garde describes"),
    ("proc_macro::TokenStream", "the compiler's own"),
    ("serde::Deserialize", "messages and documents are read through serde"),
    ("serde::Serialize", "messages and documents are written through serde"),
    ("serde::de::DeserializeOwned", "messages and documents are read through serde"),
    ("serde_json::Value", "the testing kit compares JSON"),
    ("sqlx::Error", "what a handler's own SQL fails with becomes our error"),
    ("sqlx::postgres::PgConnection", "a handler's own SQL runs in the unit's transaction"),
    ("tokio_util::sync::CancellationToken", "ends a relay or a consumer"),
    ("uuid::Uuid", "ids are UUIDs"),
    // Whole crates, re-exported for the code that the derives write.
    ("garde", "the derives call it"),
    ("serde", "the derives call it"),
    ("uuid", "the derives call it"),
];

#[test]
fn foreign_types_in_public_signatures_are_listed() {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for package in published() {
        found.extend(foreign(&Crate::read(root(), package)));
    }
    let allowed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let unlisted: Vec<_> =
        found.iter().filter(|(name, _)| !allowed.contains(name.as_str())).collect();
    assert!(unlisted.is_empty(), "foreign types that no list allows: {unlisted:#?}");
    let gone: Vec<_> = allowed.iter().filter(|name| !found.contains_key(**name)).collect();
    assert!(gone.is_empty(), "no public signature has these any more: {gone:?}");
}
