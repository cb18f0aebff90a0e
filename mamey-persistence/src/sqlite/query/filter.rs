//! Translates filters and orders into SQL with every value bound.

use mamey_core::criteria::{Comparison, Filter, SortKey, Value};

use crate::sql::filter::{self, Conditions, end_of_prefix};
use crate::sqlite::schema::table::column;

/// A condition in SQL and its values, in order.
#[derive(Default)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

impl Condition {
    pub(crate) fn of(filter: &Filter) -> Self {
        let mut condition = Self::default();
        condition.add(filter);
        condition
    }
}

impl Conditions for Condition {
    const TRUE: &'static str = "1";
    const FALSE: &'static str = "0";

    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn compare(&mut self, field: &'static str, comparison: Comparison, value: &Value) {
        let operator = match (comparison, value.is_null()) {
            (Comparison::Equal, true) => return self.push(&(column(field) + " IS NULL")),
            (Comparison::NotEqual, true) => return self.push(&(column(field) + " IS NOT NULL")),
            (_, true) => return self.push(Self::FALSE),
            (Comparison::Equal, false) => " = ?",
            (Comparison::NotEqual, false) => " IS NOT ?",
            (Comparison::Less, false) => " < ?",
            (Comparison::LessOrEqual, false) => " <= ?",
            (Comparison::Greater, false) => " > ?",
            (Comparison::GreaterOrEqual, false) => " >= ?",
        };
        self.push(&(column(field) + operator));
        self.values.push(value.clone());
    }

    fn one_of(&mut self, field: &'static str, values: &[Value]) {
        let some: Vec<_> = values.iter().filter(|value| !value.is_null()).cloned().collect();
        let column = column(field);
        self.push(&format!("({column}{}", in_list(some.len())));
        if some.len() < values.len() {
            self.push(&format!(" OR {column} IS NULL"));
        }
        self.push(")");
        self.values.extend(padded(some));
    }

    fn starts_with(&mut self, field: &'static str, prefix: &str) {
        let column = column(field);
        self.push(&format!("({column} >= ?"));
        self.values.push(Value::Text(prefix.to_owned()));
        if let Some(end) = end_of_prefix(prefix) {
            self.push(&format!(" AND {column} < ?"));
            self.values.push(Value::Text(end));
        }
        self.push(")");
    }
}

/// The order as `ORDER BY` takes it. Nulls sort as in SQLite itself: they are the smallest.
pub(crate) fn order_by(order: &[SortKey]) -> String {
    filter::order_by(order, |key| {
        let direction = if key.descending { " DESC" } else { " ASC" };
        column(key.field) + direction
    })
}

/// ` IN (?, …)` for so many values, rounded up to a power of two: few lengths, so few SQL texts.
pub(crate) fn in_list(values: usize) -> String {
    let binds = vec!["?"; padded_len(values)].join(", ");
    format!(" IN ({binds})")
}

/// The values for [`in_list`], the last one repeated.
pub(crate) fn padded(mut values: Vec<Value>) -> Vec<Value> {
    if let Some(last) = values.last().cloned() {
        values.resize(padded_len(values.len()), last);
    }
    values
}

fn padded_len(values: usize) -> usize {
    match values {
        0 => 0,
        some => some.next_power_of_two(),
    }
}
