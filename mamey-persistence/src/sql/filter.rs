//! Walks filters and orders; each SQL store writes the conditions in its own dialect.

use mamey_core::criteria::{Comparison, Filter, ID_FIELD, SortKey, Value};

/// A condition under construction, in one dialect of SQL.
///
/// It is never negated: where SQL says "unknown" for null, that counts as false, as the filter
/// wants it.
pub(crate) trait Conditions {
    /// The condition that always holds.
    const TRUE: &'static str;
    /// The condition that never holds.
    const FALSE: &'static str;

    /// Adds a part of the text.
    fn push(&mut self, sql: &str);

    /// Adds the comparison of a field with a value.
    fn compare(&mut self, field: &'static str, comparison: Comparison, value: &Value);

    /// Adds that a field has one of some values.
    fn one_of(&mut self, field: &'static str, values: &[Value]);

    /// Adds that a text begins with a prefix, as a range, so that bytes decide and an index helps.
    fn starts_with(&mut self, field: &'static str, prefix: &str);

    /// Adds that one of some filters holds. A dialect with a better form for some of them writes
    /// that instead.
    fn any(&mut self, filters: &[Filter]) {
        self.join(filters, " OR ", Self::FALSE);
    }

    /// Adds a filter.
    fn add(&mut self, filter: &Filter) {
        match filter {
            Filter::All(filters) => self.join(filters, " AND ", Self::TRUE),
            Filter::Any(filters) => self.any(filters),
            Filter::Compare { field, comparison, value } => {
                self.compare(field, *comparison, value);
            }
            Filter::OneOf { field, values } => self.one_of(field, values),
            Filter::StartsWith { field, prefix } => self.starts_with(field, prefix),
        }
    }

    /// Adds filters with `word` between them; `empty` stands for none.
    fn join(&mut self, filters: &[Filter], word: &str, empty: &str) {
        if filters.is_empty() {
            return self.push(empty);
        }
        self.push("(");
        for (at, filter) in filters.iter().enumerate() {
            if at > 0 {
                self.push(word);
            }
            self.add(filter);
        }
        self.push(")");
    }
}

/// The keys of an order as `ORDER BY` takes them. The id is the last key, so that no two documents
/// are equal.
pub(crate) fn order_by(order: &[SortKey], key: impl Fn(&SortKey) -> String) -> String {
    let mut keys: Vec<_> = order.iter().map(key).collect();
    if order.iter().all(|key| key.field != ID_FIELD) {
        keys.push(format!("{ID_FIELD} ASC"));
    }
    keys.join(", ")
}

/// The smallest text that is larger than every text with this prefix; `None` when there is none.
pub(crate) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // A range of characters leaves the surrogates out by itself.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}
