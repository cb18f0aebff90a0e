//! Translates filters and orders into SQL with every value bound.

use mamey_core::criteria::{Comparison, Filter, ID_FIELD, SortKey, Value, ValueType};

use super::text::{escape, value_text};
use crate::postgres::schema::names::{column, sql_type};
use crate::sql::filter::end_of_prefix;

/// A condition in SQL and its values, in order.
#[derive(Default)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) values: Vec<Bound>,
}

/// What is bound to a placeholder.
pub(crate) enum Bound {
    One(String),
    Many(Vec<String>),
}

impl Condition {
    /// The filter as a condition. No part of it is negated, so SQL's "unknown" for null counts as
    /// false, as in the filter.
    pub(crate) fn of(filter: &Filter) -> Self {
        let mut condition = Self::default();
        condition.add(filter);
        condition
    }

    fn add(&mut self, filter: &Filter) {
        match filter {
            Filter::All(filters) => self.join(filters, " AND ", "true"),
            Filter::Any(filters) => match Place::of(filters) {
                Some(place) => self.after(&place),
                None => self.join(filters, " OR ", "false"),
            },
            Filter::Compare { field, comparison, value } => {
                self.compare(field, *comparison, value);
            }
            Filter::OneOf { field, values } => self.one_of(field, values),
            Filter::StartsWith { field, prefix } => self.starts_with(field, prefix),
        }
    }

    fn join(&mut self, filters: &[Filter], word: &str, empty: &str) {
        if filters.is_empty() {
            self.sql.push_str(empty);
            return;
        }
        self.sql.push('(');
        for (at, filter) in filters.iter().enumerate() {
            if at > 0 {
                self.sql.push_str(word);
            }
            self.add(filter);
        }
        self.sql.push(')');
    }

    fn compare(&mut self, field: &str, comparison: Comparison, value: &Value) {
        let operator = match (comparison, value.is_null()) {
            (Comparison::Equal, true) => return self.push(&column(field), " IS NULL"),
            (Comparison::NotEqual, true) => return self.push(&column(field), " IS NOT NULL"),
            (_, true) => return self.sql.push_str("false"),
            (Comparison::Equal, false) => " = ",
            (Comparison::NotEqual, false) => return self.not_equal(field, value),
            (Comparison::Less, false) => " < ",
            (Comparison::LessOrEqual, false) => " <= ",
            (Comparison::Greater, false) => " > ",
            (Comparison::GreaterOrEqual, false) => " >= ",
        };
        self.push(&column(field), operator);
        self.bind(Bound::One(text(value)), sql_type(value_type(value)));
    }

    /// As three parts that use an index, where `IS DISTINCT FROM` would read every document.
    fn not_equal(&mut self, field: &str, value: &Value) {
        self.sql.push('(');
        for operator in [" < ", " > "] {
            self.push(&column(field), operator);
            self.bind(Bound::One(text(value)), sql_type(value_type(value)));
            self.sql.push_str(" OR ");
        }
        self.push(&column(field), " IS NULL)");
    }

    /// As a comparison of rows, for which an index starts at the place. The equivalent alternatives
    /// would make it read everything before.
    fn after(&mut self, place: &Place<'_>) {
        let [first, second] = place.fields;
        self.sql.push_str(&format!("({}, {}) > (", column(first), column(second)));
        for (at, value) in place.values.iter().enumerate() {
            if at > 0 {
                self.sql.push_str(", ");
            }
            self.bind(Bound::One(text(value)), sql_type(value_type(value)));
        }
        self.sql.push(')');
    }

    /// One array, so that the SQL text is the same for any number of values.
    fn one_of(&mut self, field: &str, values: &[Value]) {
        let some: Vec<_> = values.iter().filter(|value| !value.is_null()).collect();
        let has_null = some.len() < values.len();
        let Some(first) = some.first() else {
            return if has_null {
                self.push(&column(field), " IS NULL");
            } else {
                self.sql.push_str("false");
            };
        };
        self.sql.push('(');
        self.push(&column(field), " = ANY(");
        let array = format!("{}[])", sql_type(value_type(first)));
        self.bind(Bound::Many(some.iter().map(|value| text(value)).collect()), &array);
        if has_null {
            self.sql.push_str(" OR ");
            self.push(&column(field), " IS NULL");
        }
        self.sql.push(')');
    }

    /// As a range, so that bytes are compared and an index is used.
    fn starts_with(&mut self, field: &str, prefix: &str) {
        let prefix = escape(prefix);
        self.sql.push('(');
        self.push(&column(field), " >= ");
        self.bind(Bound::One(prefix.to_string()), "text");
        if let Some(end) = end_of_prefix(&prefix) {
            self.sql.push_str(" AND ");
            self.push(&column(field), " < ");
            self.bind(Bound::One(end), "text");
        }
        self.sql.push(')');
    }

    fn push(&mut self, column: &str, rest: &str) {
        self.sql.push_str(column);
        self.sql.push_str(rest);
    }

    /// Values are sent as text: fewer types, so fewer prepared statements.
    fn bind(&mut self, value: Bound, of: &str) {
        self.values.push(value);
        let array = if of.ends_with("[])") { "[]" } else { "" };
        let number = self.values.len();
        self.sql.push_str(&format!("${number}::text{array}::{of}"));
    }
}

/// Where a page ended, in an order of two ascending keys.
struct Place<'f> {
    fields: [&'static str; 2],
    values: [&'f Value; 2],
}

impl<'f> Place<'f> {
    /// Recognizes "later in the first key, or equal there and later in the second".
    fn of(alternatives: &'f [Filter]) -> Option<Self> {
        let [Filter::All(later), Filter::All(equal)] = alternatives else { return None };
        let [first] = later.as_slice() else { return None };
        let [same, second] = equal.as_slice() else { return None };
        let (first, value) = compared(first, Comparison::Greater)?;
        let (again, same) = compared(same, Comparison::Equal)?;
        let (second, other) = compared(second, Comparison::Greater)?;
        (first == again && value == same)
            .then_some(Self { fields: [first, second], values: [value, other] })
    }
}

/// The field and value of a comparison of this kind, unless the value is null.
fn compared(filter: &Filter, of: Comparison) -> Option<(&'static str, &Value)> {
    match filter {
        Filter::Compare { field, comparison, value } if *comparison == of && !value.is_null() => {
            Some((*field, value))
        }
        _ => None,
    }
}

/// Nulls are the smallest, as everywhere in criteria; by default PostgreSQL sorts them as the largest.
pub(crate) fn order_by(order: &[SortKey]) -> String {
    let key = |key: &SortKey| {
        let direction = if key.descending { " DESC NULLS LAST" } else { " ASC NULLS FIRST" };
        let direction = match (key.field == ID_FIELD, key.descending) {
            (true, true) => " DESC",
            (true, false) => " ASC",
            (false, _) => direction,
        };
        column(key.field) + direction
    };
    let mut keys: Vec<_> = order.iter().map(key).collect();
    if order.iter().all(|key| key.field != ID_FIELD) {
        keys.push(format!("{ID_FIELD} ASC"));
    }
    keys.join(", ")
}

/// A value that is not null, as text.
fn text(value: &Value) -> String {
    value_text(value).unwrap_or_default().into_owned()
}

/// The type of a value that is not null.
fn value_type(value: &Value) -> ValueType {
    value.value_type().unwrap_or(ValueType::Text)
}
