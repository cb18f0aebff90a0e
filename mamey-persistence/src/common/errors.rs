//! Errors whose wording all stores share.

use mamey_core::Error;
use mamey_core::criteria::{INDEXED_TEXT_BYTES_MAX, Index, Value, ValueType};
use mamey_core::message::ContextName;

use super::fields::type_name;

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

/// The error for a field, or the id, whose values are stored as another type.
pub(crate) fn other_type(collection: &str, field: &str, of: &str) -> Error {
    Error::misconfigured(format!(
        "`{field}` of `{collection}` is stored as {of}: keep that type, \
         or give the field or the collection another name"
    ))
}

/// The error for a document in which a field that becomes indexed is not written as its type.
pub(crate) fn not_of_type(collection: &str, index: &Index, id: &str) -> Error {
    let field = index.field;
    let of = match index.value {
        ValueType::Text => format!("text of at most {INDEXED_TEXT_BYTES_MAX} bytes"),
        other => type_name(other).to_owned(),
    };
    Error::misconfigured(format!(
        "`{field}` cannot be indexed: in the document {collection}/{id} it is not written as \
         {of}; save such documents with the earlier build first, or index a new field"
    ))
}

/// The error for a field that cannot become unique.
pub(crate) fn not_unique(collection: &str, field: &str) -> Error {
    Error::misconfigured(format!(
        "`{field}` of `{collection}` cannot become unique, because two documents have the same \
         value: change one of them with the earlier build first"
    ))
}

/// A message is for a context that the database does not have.
pub(crate) fn no_context(context: &ContextName) -> Error {
    Error::not_found(format!("the database has no context `{context}`"))
}
