//! Translates filters and orders into SQL with every value bound.

use mamey_core::criteria::{Comparison, Filter, ID_FIELD, SortKey, Value};

use super::table::column;
use crate::sql::filter::end_of_prefix;

/// A condition in SQL and its values, in order.
#[derive(Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    /// The filter as a condition that is never negated: where SQL says "unknown" for null, that
    /// counts as false, as the filter wants it.
    pub(super) fn of(filter: &Filter) -> Self {
        let mut condition = Self::default();
        condition.add(filter);
        condition
    }

    fn add(&mut self, filter: &Filter) {
        match filter {
            Filter::All(filters) => self.join(filters, " AND ", "1"),
            Filter::Any(filters) => self.join(filters, " OR ", "0"),
            Filter::Compare { field, comparison, value } => {
                self.compare(&column(field), *comparison, value);
            }
            Filter::OneOf { field, values } => self.one_of(&column(field), values),
            Filter::StartsWith { field, prefix } => self.starts_with(&column(field), prefix),
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

    fn compare(&mut self, column: &str, comparison: Comparison, value: &Value) {
        let operator = match (comparison, value.is_null()) {
            (Comparison::Equal, true) => return self.push(column, " IS NULL"),
            (Comparison::NotEqual, true) => return self.push(column, " IS NOT NULL"),
            (_, true) => return self.sql.push('0'),
            (Comparison::Equal, false) => " = ?",
            (Comparison::NotEqual, false) => " IS NOT ?",
            (Comparison::Less, false) => " < ?",
            (Comparison::LessOrEqual, false) => " <= ?",
            (Comparison::Greater, false) => " > ?",
            (Comparison::GreaterOrEqual, false) => " >= ?",
        };
        self.push(column, operator);
        self.values.push(value.clone());
    }

    fn one_of(&mut self, column: &str, values: &[Value]) {
        let some: Vec<_> = values.iter().filter(|value| !value.is_null()).cloned().collect();
        self.sql.push('(');
        self.push(column, &in_list(some.len()));
        if some.len() < values.len() {
            self.sql.push_str(" OR ");
            self.push(column, " IS NULL");
        }
        self.sql.push(')');
        self.values.extend(padded(some));
    }

    /// As a range, so that bytes decide and an index helps.
    fn starts_with(&mut self, column: &str, prefix: &str) {
        self.sql.push('(');
        self.push(column, " >= ?");
        self.values.push(Value::Text(prefix.to_owned()));
        if let Some(end) = end_of_prefix(prefix) {
            self.sql.push_str(" AND ");
            self.push(column, " < ?");
            self.values.push(Value::Text(end));
        }
        self.sql.push(')');
    }

    fn push(&mut self, column: &str, rest: &str) {
        self.sql.push_str(column);
        self.sql.push_str(rest);
    }
}

/// ` IN (?, …)` for so many values, rounded up to a power of two: few lengths, so few SQL texts.
pub(super) fn in_list(values: usize) -> String {
    let binds = vec!["?"; padded_len(values)].join(", ");
    format!(" IN ({binds})")
}

/// The values for [`in_list`], the last one repeated.
pub(super) fn padded(mut values: Vec<Value>) -> Vec<Value> {
    if let Some(last) = values.last().cloned() {
        values.resize(padded_len(values.len()), last);
    }
    values
}

/// The order with the id as its last key. Nulls sort as in SQLite itself: they are the smallest.
pub(super) fn order_by(order: &[SortKey]) -> String {
    let key = |key: &SortKey| {
        let direction = if key.descending { " DESC" } else { " ASC" };
        column(key.field) + direction
    };
    let mut keys: Vec<_> = order.iter().map(key).collect();
    if order.iter().all(|key| key.field != ID_FIELD) {
        keys.push(format!("{ID_FIELD} ASC"));
    }
    keys.join(", ")
}

fn padded_len(values: usize) -> usize {
    match values {
        0 => 0,
        some => some.next_power_of_two(),
    }
}
