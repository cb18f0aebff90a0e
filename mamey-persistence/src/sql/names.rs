//! The names under which SQL stores record types and keep indexed fields.

use mamey_core::criteria::ValueType;

/// The prefix of the column of an indexed field, so that it is never the name of another column.
pub(crate) const FIELD_PREFIX: &str = "f_";

/// The stable name of a type, as recorded with collections and indexes.
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
