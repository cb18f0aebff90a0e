//! Translates filters and orders into SQL with every value bound.

use mamey_core::criteria::{Comparison, Filter, ID_FIELD, SortKey, Value, ValueType};

use super::values::{escape, value_text};
use crate::postgres::schema::names::{column, sql_type};
use crate::sql::filter::{self, Conditions, end_of_prefix};

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
    /// The filter as a condition.
    pub(crate) fn of(filter: &Filter) -> Self {
        let mut condition = Self::default();
        condition.add(filter);
        condition
    }

    /// As three parts that use an index, where `IS DISTINCT FROM` would read every document.
    fn not_equal(&mut self, field: &str, value: &Value) {
        let column = column(field);
        self.push("(");
        for operator in [" < ", " > "] {
            self.push(&format!("{column}{operator}"));
            self.bind_one(value);
            self.push(" OR ");
        }
        self.push(&format!("{column} IS NULL)"));
    }

    /// As a comparison of rows, for which an index starts at the place. The equivalent alternatives
    /// would make it read everything before.
    fn after(&mut self, place: &Place<'_>) {
        let [first, second] = place.fields;
        self.push(&format!("({}, {}) > (", column(first), column(second)));
        for (at, value) in place.values.iter().enumerate() {
            if at > 0 {
                self.push(", ");
            }
            self.bind_one(value);
        }
        self.push(")");
    }

    /// A value that is not null.
    fn bind_one(&mut self, value: &Value) {
        self.bind(Bound::One(text(value)), sql_type(value_type(value)));
    }

    /// Values are sent as text: fewer types, so fewer prepared statements.
    fn bind(&mut self, value: Bound, of: &str) {
        self.values.push(value);
        let array = if of.ends_with("[])") { "[]" } else { "" };
        let number = self.values.len();
        self.push(&format!("${number}::text{array}::{of}"));
    }
}

impl Conditions for Condition {
    const TRUE: &'static str = "true";
    const FALSE: &'static str = "false";

    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn any(&mut self, filters: &[Filter]) {
        match Place::of(filters) {
            Some(place) => self.after(&place),
            None => self.join(filters, " OR ", Self::FALSE),
        }
    }

    fn compare(&mut self, field: &'static str, comparison: Comparison, value: &Value) {
        let operator = match (comparison, value.is_null()) {
            (Comparison::Equal, true) => return self.push(&(column(field) + " IS NULL")),
            (Comparison::NotEqual, true) => return self.push(&(column(field) + " IS NOT NULL")),
            (_, true) => return self.push(Self::FALSE),
            (Comparison::Equal, false) => " = ",
            (Comparison::NotEqual, false) => return self.not_equal(field, value),
            (Comparison::Less, false) => " < ",
            (Comparison::LessOrEqual, false) => " <= ",
            (Comparison::Greater, false) => " > ",
            (Comparison::GreaterOrEqual, false) => " >= ",
        };
        self.push(&(column(field) + operator));
        self.bind_one(value);
    }

    /// One array, so that the SQL text is the same for any number of values.
    fn one_of(&mut self, field: &'static str, values: &[Value]) {
        let some: Vec<_> = values.iter().filter(|value| !value.is_null()).collect();
        let has_null = some.len() < values.len();
        let column = column(field);
        let Some(first) = some.first() else {
            return match has_null {
                true => self.push(&(column + " IS NULL")),
                false => self.push(Self::FALSE),
            };
        };
        self.push(&format!("({column} = ANY("));
        let array = format!("{}[])", sql_type(value_type(first)));
        self.bind(Bound::Many(some.iter().map(|value| text(value)).collect()), &array);
        if has_null {
            self.push(&format!(" OR {column} IS NULL"));
        }
        self.push(")");
    }

    fn starts_with(&mut self, field: &'static str, prefix: &str) {
        let (prefix, column) = (escape(prefix), column(field));
        self.push(&format!("({column} >= "));
        self.bind(Bound::One(prefix.to_string()), "text");
        if let Some(end) = end_of_prefix(&prefix) {
            self.push(&format!(" AND {column} < "));
            self.bind(Bound::One(end), "text");
        }
        self.push(")");
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
    filter::order_by(order, |key| {
        let direction = match (key.field == ID_FIELD, key.descending) {
            (true, true) => " DESC",
            (true, false) => " ASC",
            (false, true) => " DESC NULLS LAST",
            (false, false) => " ASC NULLS FIRST",
        };
        column(key.field) + direction
    })
}

/// A value that is not null, as text.
fn text(value: &Value) -> String {
    value_text(value).unwrap_or_default().into_owned()
}

/// The type of a value that is not null.
fn value_type(value: &Value) -> ValueType {
    value.value_type().unwrap_or(ValueType::Text)
}
