//! Checks values against the fields that a collection declares.

use mamey_core::criteria::{Collection, ID_FIELD, Value, ValueType};
use mamey_core::{Error, Result};

/// Refuses an id that is null or of another type.
pub(crate) fn check_id(collection: &'static Collection, id: &Value) -> Result<()> {
    if !id.is_null() && type_fits(collection.id, id) {
        return Ok(());
    }
    Err(wrong_type(collection, ID_FIELD))
}

/// Whether a value can stand in a field. Not-a-number has no place in an order, so no store takes it.
pub(crate) fn type_fits(expected: ValueType, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Float(number) if number.is_nan() => false,
        value => value.value_type() == Some(expected),
    }
}

pub(crate) fn field_type(collection: &'static Collection, field: &str) -> Result<ValueType> {
    collection.value_type(field).ok_or_else(|| {
        Error::invalid(format!(
            "`{field}` of `{}` is not indexed: add `#[aggregate(index)]` to the field",
            collection.name
        ))
    })
}

pub(crate) fn wrong_type(collection: &Collection, field: &str) -> Error {
    let name = collection.name;
    Error::invalid(format!("a value for `{field}` of `{name}` does not have the type of the field"))
}

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
