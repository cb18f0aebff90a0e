//! Between aggregates and their stored documents: reading, checking and the errors of both.

use crate::criteria::{
    Cursor, ID_FIELD, INDEXED_TEXT_BYTES_MAX, SortKey, Value, cursor_at, indexed_bytes,
    indexed_values, indexed_values_or_null, is_indexable, shown,
};
use crate::domain::{Aggregate, Versioned};
use crate::json::to_json;
use crate::store::{Change, Document};
use crate::{Error, Result, Retry};

/// The aggregate that a document holds.
pub(super) fn read<A: Aggregate>(document: Document) -> Result<Versioned<A>> {
    let Document { id, version, data } = document;
    let aggregate = serde_json::from_slice(&data).map_err(|cause| {
        let (collection, kind) = (A::COLLECTION.name, std::any::type_name::<A>());
        Error::invalid(format!("the document {collection}/{id} is not a `{kind}`: {cause}"))
            .with_source(cause)
    })?;
    Ok(Versioned::new(aggregate, version))
}

/// The aggregate as it is stored, with the values of its indexed fields.
pub(super) fn put<A: Aggregate>(id: &Value, aggregate: &A) -> Result<Change> {
    let data = to_json(aggregate).map_err(|cause| unstorable::<A>(id, &cause.to_string()))?;
    let index = aggregate.index_values();
    check_indexable::<A>(ID_FIELD, id)?;
    for (declared, value) in A::COLLECTION.indexes.iter().zip(&index) {
        check_indexable::<A>(declared.field, value)?;
    }
    check_written::<A>(id, &data, &index)?;
    Ok(Change::Put { data, index })
}

/// Refuses an aggregate that would be indexed under other values than its document holds: an index
/// that is filled from the document later would not find it.
fn check_written<A: Aggregate>(id: &Value, data: &[u8], index: &[Value]) -> Result<()> {
    let written = indexed_values(A::COLLECTION, data)?;
    let pairs = A::COLLECTION.indexes.iter().zip(written.iter().zip(index));
    for (declared, (written, said)) in pairs {
        if written != said {
            let (field, name) = (declared.field, A::COLLECTION.name);
            let (written, said) = (shown(&written.to_string()), shown(&said.to_string()));
            return Err(Error::misconfigured(format!(
                "`{field}` of {name}/{id} is written to the document as `{written}` and would be \
                 indexed as `{said}`: let its `IndexValue` say what its `Serialize` writes"
            ))
            .with_retry(Retry::Never));
        }
    }
    Ok(())
}

/// Where a page ends: at this document, by the values that the index holds of it.
pub(super) fn cursor_after<A: Aggregate>(order: &[SortKey], last: &Document) -> Result<Cursor> {
    let values = indexed_values_or_null(A::COLLECTION, &last.data)?;
    Ok(cursor_at(order, &|field| {
        if field == ID_FIELD {
            return last.id.clone();
        }
        let at = A::COLLECTION.indexes.iter().position(|index| index.field == field);
        at.and_then(|at| values.get(at)).cloned().unwrap_or(Value::Null)
    }))
}

fn check_indexable<A: Aggregate>(field: &str, value: &Value) -> Result<()> {
    let collection = A::COLLECTION.name;
    match value {
        Value::Float(number) if number.is_nan() => Err(Error::invalid(format!(
            "`{field}` of `{collection}` is indexed and cannot be stored: it is not a number"
        ))),
        Value::Text(text) if !is_indexable(text) => {
            let message = format!(
                "`{field}` of `{collection}` has {} bytes (U+0000 and U+0001 count twice), the limit \
                 of what is indexed is \
                 {INDEXED_TEXT_BYTES_MAX}; use a shorter one, or keep long text in a field without \
                 an index",
                indexed_bytes(text)
            );
            Err(Error::limit_exceeded(message).with_retry(Retry::Never))
        }
        _ => Ok(()),
    }
}

/// The error of an aggregate that does not exist.
pub(super) fn absent<A: Aggregate>(id: &Value) -> Error {
    Error::not_found(format!("there is no {}/{id}", A::COLLECTION.name))
}

fn unstorable<A: Aggregate>(id: &Value, cause: &str) -> Error {
    let collection = A::COLLECTION.name;
    Error::invalid(format!("{collection}/{id} cannot be stored: {cause}")).with_retry(Retry::Never)
}
