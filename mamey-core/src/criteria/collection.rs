//! Collections and their indexed fields: what criteria may ask for.

use super::filter::ID_FIELD;
use super::value::ValueType;

/// Where aggregates of one type are kept.
///
/// ```
/// use mamey::criteria::{Collection, Index, ValueType};
///
/// const ORDERS: &Collection = &Collection::new("orders", ValueType::Uuid).with_indexes(&[
///     Index::new("number", ValueType::Int).with_unique(true),
///     Index::new("customer", ValueType::Text),
/// ]);
/// assert_eq!(ORDERS.value_type("customer"), Some(ValueType::Text));
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collection {
    /// The collection's name within its context.
    pub name: &'static str,
    /// The type of the ids.
    pub id: ValueType,
    /// The indexed fields: the only ones that criteria accept.
    pub indexes: &'static [Index],
}

impl Collection {
    /// A collection without indexes, whose ids are of the type `id`.
    #[must_use]
    pub const fn new(name: &'static str, id: ValueType) -> Self {
        Self { name, id, indexes: &[] }
    }

    /// The indexed fields: the only ones that criteria accept.
    #[must_use]
    pub const fn with_indexes(mut self, indexes: &'static [Index]) -> Self {
        self.indexes = indexes;
        self
    }
}

impl Collection {
    /// The type of an indexed field or of the id.
    #[must_use]
    pub fn value_type(&self, field: &str) -> Option<ValueType> {
        if field == ID_FIELD {
            return Some(self.id);
        }
        self.indexes.iter().find(|index| index.field == field).map(|index| index.value)
    }
}

/// One indexed field of a collection.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// The field's name in the document: what serde writes.
    pub field: &'static str,
    /// The type of its values.
    pub value: ValueType,
    /// Whether no two documents may share a value; documents without a value never clash.
    pub unique: bool,
}

impl Index {
    /// An index whose values may repeat.
    #[must_use]
    pub const fn new(field: &'static str, value: ValueType) -> Self {
        Self { field, value, unique: false }
    }

    /// Whether no two documents may share a value; documents without a value never clash.
    #[must_use]
    pub const fn with_unique(mut self, unique: bool) -> Self {
        self.unique = unique;
        self
    }
}
