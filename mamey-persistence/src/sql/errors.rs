//! The errors that every SQL store gives in the same words.

use std::fmt::Display;

use mamey_core::Error;
use mamey_core::criteria::Value;

pub(crate) fn not_json(collection: &str, id: &Value, cause: impl Display) -> Error {
    Error::invalid(format!("{collection}/{id} is not JSON: {cause}"))
}

/// A field, or the id, whose values stand there as another type.
pub(crate) fn other_type(collection: &str, field: &str, of: &str) -> Error {
    Error::misconfigured(format!(
        "`{field}` of `{collection}` is stored as {of}: keep that type, \
         or give the field or the collection another name"
    ))
}

pub(crate) fn not_unique(collection: &str, field: &str) -> Error {
    Error::misconfigured(format!(
        "`{field}` of `{collection}` cannot become unique, because two documents have the same \
         value: change one of them with the earlier build first"
    ))
}
