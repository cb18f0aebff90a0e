//! What both SQL databases record, bound and refuse alike, each in its own dialect.

use std::fmt::Display;

use mamey_core::Error;
use mamey_core::criteria::{Value, ValueType};
use uuid::Uuid;

/// Stands before the name of an indexed field, so that it clashes with no column of ours.
pub(crate) const FIELD_PREFIX: &str = "f_";

/// The stable name of a type, as recorded beside collections and indexes.
pub(crate) const fn type_name(of: ValueType) -> &'static str {
    match of {
        ValueType::Bool => "bool",
        ValueType::Int => "int",
        ValueType::Float => "float",
        ValueType::Text => "text",
        ValueType::Uuid => "uuid",
        ValueType::Time => "time",
    }
}

/// Tells two texts of a migration apart; nobody attacks it.
pub(crate) fn checksum(sql: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, sql.as_bytes()).to_string()
}

/// The smallest text that is larger than every text with this prefix; `None` when there is none.
pub(crate) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // The range of characters steps over the gap of the surrogates by itself.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

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
