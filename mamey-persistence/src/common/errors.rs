//! Errors whose wording all stores share.

use mamey_core::Error;
use mamey_core::criteria::Value;

/// The error for an id that is taken.
pub(crate) fn id_taken(collection: &str, id: &Value) -> Error {
    Error::already_exists(format!("{collection}/{id} already exists"))
}

/// The error for a value of a unique field that is taken.
pub(crate) fn value_taken(collection: &str, field: &str) -> Error {
    Error::already_exists(format!(
        "another document of `{collection}` has the same `{field}`, which is unique"
    ))
}

/// The error for a document that another unit has changed.
pub(crate) fn changed(collection: &str, id: &Value) -> Error {
    Error::conflict(format!("{collection}/{id} changed since it was read"))
}

/// The error of every call after the database was closed.
pub(crate) fn closed() -> Error {
    Error::unavailable("the store is closed")
}
