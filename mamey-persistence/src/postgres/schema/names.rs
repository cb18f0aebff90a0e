//! What columns, indexes and types are called on PostgreSQL.

use mamey_core::criteria::{Collection, ID_FIELD, ValueType};
use uuid::Uuid;

use crate::sql::names::FIELD_PREFIX;

/// The longest name of PostgreSQL, in bytes; it cuts longer ones without an error.
const NAME_BYTES_MAX: usize = 63;

/// The quoted column of a field. A prefix keeps it apart from our own columns; a field that is too
/// long with the prefix is named by a digest.
pub(crate) fn column(field: &str) -> String {
    if field == ID_FIELD {
        return ID_FIELD.to_owned();
    }
    format!("\"{}\"", column_name(field))
}

/// The column of an indexed field as the catalogue has it.
pub(crate) fn column_name(field: &str) -> String {
    if FIELD_PREFIX.len() + field.len() > NAME_BYTES_MAX {
        return format!("h_{}", digest(field));
    }
    format!("{FIELD_PREFIX}{field}")
}

/// What a bound text is cast to. Times are microseconds, because PostgreSQL's own times cover a
/// smaller range.
pub(crate) const fn sql_type(of: ValueType) -> &'static str {
    match of {
        ValueType::Bool => "boolean",
        ValueType::Int | ValueType::Time => "bigint",
        ValueType::Float => "double precision",
        ValueType::Text => "text",
        ValueType::Uuid => "uuid",
    }
}

/// The type of a column. Text is ordered by its bytes, whatever the database's language.
pub(crate) fn column_type(of: ValueType) -> String {
    match of {
        ValueType::Text => "text COLLATE \"C\"".to_owned(),
        other => sql_type(other).to_owned(),
    }
}

/// The name of a field's index.
pub(crate) fn index_name(collection: &Collection, field: &str) -> String {
    object_name(collection.name, field)
}

/// The name of an object of ours. Indexes share a name space with tables, and no collection starts
/// with an underscore.
pub(crate) fn object_name(collection: &str, field: &str) -> String {
    format!("_{}", digest(&format!("{collection}.{field}")))
}

fn digest(text: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string()
}
