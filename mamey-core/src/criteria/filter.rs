//! The filter tree that stores translate, and the plain evaluation that defines its meaning.

use super::Value;

/// The field name that stands for the document's id in a filter or a sort.
pub const ID_FIELD: &str = "id";

/// How a field is compared with a value. Exhaustive, as [`Filter`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal; null equals null.
    Equal,
    /// Not equal; null differs from every value.
    NotEqual,
    /// Less than; false when either side is null.
    Less,
    /// At most; false when either side is null.
    LessOrEqual,
    /// Greater than; false when either side is null.
    Greater,
    /// At least; false when either side is null.
    GreaterOrEqual,
}

/// A condition on a document's indexed fields. It is either true or false, never unknown because of
/// a null, and there is no negation: so all stores agree.
///
/// Exhaustive: a store that did not translate one of them would find the wrong documents.
///
/// ```
/// use mamey::criteria::{Comparison, Filter, Value};
///
/// let filter =
///     Filter::Compare { field: "cents", comparison: Comparison::Less, value: Value::Int(100) };
/// assert!(filter.matches(&|_| &Value::Int(99)));
/// assert!(!filter.matches(&|_| &Value::Null));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// True when all are true; true when empty.
    All(Vec<Filter>),
    /// True when any is true; false when empty.
    Any(Vec<Filter>),
    /// A comparison of one field.
    Compare {
        /// The field, or [`ID_FIELD`].
        field: &'static str,
        /// How to compare.
        comparison: Comparison,
        /// With what.
        value: Value,
    },
    /// Equal to one of the values; null counts as a value.
    OneOf {
        /// The field, or [`ID_FIELD`].
        field: &'static str,
        /// The values.
        values: Vec<Value>,
    },
    /// Text that begins with a prefix, byte for byte; false for null.
    StartsWith {
        /// The field.
        field: &'static str,
        /// The prefix.
        prefix: String,
    },
}

impl Filter {
    /// True of every document.
    pub const TRUE: Self = Self::All(Vec::new());

    /// Evaluates the filter; `value_of` gives the document's value of a field.
    ///
    /// This is the definition that every store's translation is tested against.
    pub fn matches<'v>(&self, value_of: &impl Fn(&str) -> &'v Value) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(value_of)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(value_of)),
            Self::Compare { field, comparison, value } => comparison.holds(value_of(field), value),
            Self::OneOf { field, values } => values.contains(value_of(field)),
            Self::StartsWith { field, prefix } => {
                matches!(value_of(field), Value::Text(text) if text.starts_with(prefix))
            }
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All(none), other) | (other, Self::All(none)) if none.is_empty() => other,
            (Self::All(mut filters), other) => {
                filters.push(other);
                Self::All(filters)
            }
            (one, other) => Self::All(vec![one, other]),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any(mut filters), other) if !filters.is_empty() => {
                filters.push(other);
                Self::Any(filters)
            }
            (one, other) => Self::Any(vec![one, other]),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let both = !left.is_null() && !right.is_null();
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => both && left < right,
            Self::LessOrEqual => both && left <= right,
            Self::Greater => both && left > right,
            Self::GreaterOrEqual => both && left >= right,
        }
    }
}
