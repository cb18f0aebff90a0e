//! The errors that every store gives in the same words.

use mamey_core::Error;
use mamey_core::criteria::Value;

/// The taken-id error that every store gives.
pub(crate) fn id_taken(collection: &str, id: &Value) -> Error {
    Error::already_exists(format!("{collection}/{id} exists already"))
}

/// The taken-value error that every store gives.
pub(crate) fn value_taken(collection: &str, field: &str) -> Error {
    Error::already_exists(format!(
        "another document of `{collection}` has the same `{field}`, which is unique"
    ))
}

/// The conflict error that every store gives.
pub(crate) fn changed(collection: &str, id: &Value) -> Error {
    Error::conflict(format!("{collection}/{id} changed since it was read"))
}

/// What every call says after a database was closed.
pub(crate) fn closed() -> Error {
    Error::unavailable("the store is closed")
}
