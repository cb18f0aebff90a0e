//! Keyset pages: "after this cursor" as a plain filter.

use super::collection::Collection;
use super::cursor::Cursor;
use super::filter::{Comparison, Filter, ID_FIELD};
use super::find::SortKey;
use super::value::Value;
use crate::{Error, Result};

/// "Comes after the cursor in this order" as a plain filter, so that stores need no notion of
/// cursors: later in the first key, or equal there and later in the second, and so on.
pub(super) fn after_filter(
    collection: &Collection,
    order: &[SortKey],
    cursor: &Cursor,
) -> Result<Filter> {
    let fits = order.len() == cursor.0.len()
        && order.iter().zip(&cursor.0).all(|(key, value)| type_fits(collection, key.field, value));
    if !fits {
        return Err(Error::invalid(
            "the page cursor belongs to other criteria; start from the first page",
        ));
    }
    let mut alternatives = Vec::new();
    let mut equal_so_far: Vec<Filter> = Vec::new();
    for (key, value) in order.iter().zip(&cursor.0) {
        let mut step = equal_so_far.clone();
        step.push(later(key, value));
        alternatives.push(Filter::All(step));
        equal_so_far.push(compare(key.field, Comparison::Equal, value.clone()));
    }
    Ok(Filter::Any(alternatives))
}

fn type_fits(collection: &Collection, field: &str, value: &Value) -> bool {
    let expected = collection.value_type(field);
    value.is_null() && field != ID_FIELD || value.value_type() == expected
}

/// Null is the smallest value; plain comparisons never match it.
fn later(key: &SortKey, value: &Value) -> Filter {
    let null = compare(key.field, Comparison::Equal, Value::Null);
    match (key.descending, value.is_null()) {
        (false, true) => compare(key.field, Comparison::NotEqual, Value::Null),
        (false, false) => compare(key.field, Comparison::Greater, value.clone()),
        (true, true) => Filter::Any(Vec::new()),
        (true, false) if key.field == ID_FIELD => {
            compare(key.field, Comparison::Less, value.clone())
        }
        (true, false) => compare(key.field, Comparison::Less, value.clone()).or(null),
    }
}

fn compare(field: &'static str, comparison: Comparison, value: Value) -> Filter {
    Filter::Compare { field, comparison, value }
}
