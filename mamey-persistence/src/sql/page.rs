//! Ends a page where its last row was, as every SQL store does.

use mamey_core::criteria::{Find, Value, ValueType};
use mamey_core::store::Found;

use crate::common::page::Filling;

/// The page, with the cursor after its last row if it is full. `read` gives what the index holds of
/// that row, at a place among the find's fields.
pub(crate) fn end<R>(
    page: Filling,
    find: &Find,
    last: Option<&R>,
    read: impl Fn(&R, usize, ValueType) -> Result<Value, sqlx::Error>,
) -> Result<Found, sqlx::Error> {
    page.end(find, |place, field| match (last, find.collection.value_type(field)) {
        (Some(row), Some(of)) => read(row, place, of),
        _ => Ok(Value::Null),
    })
}
