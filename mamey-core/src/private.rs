//! What generated code refers to; not a public API, and free to change.

use std::fmt::Display;
use std::str::FromStr;

pub use serde;
pub use uuid;

pub use crate::message::unknown_version;
use crate::{Error, Result};

/// Whether two message names are equal, in a constant, where `==` is not allowed.
#[must_use]
pub const fn same_name(one: &str, two: &str) -> bool {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    if one.len() != two.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != two[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Reads what a typed id called `kind` wraps.
///
/// # Errors
/// `Invalid` when the text is not such an id; the error repeats only its beginning.
pub fn parse_id<T>(kind: &str, text: &str) -> Result<T>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|cause| Error::invalid(format!("`{text:.64}` is not a `{kind}`: {cause}")))
}
