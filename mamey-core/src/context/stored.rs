//! Between aggregates and their stored documents: reading, checking and the errors of both.

use crate::criteria::{ID_FIELD, INDEXED_TEXT_BYTES_MAX, IndexValue, Value};
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
    Ok(Change::Put { data, index })
}

/// The value that an index holds of an aggregate.
pub(super) fn value_of<A: Aggregate>(aggregate: &A, field: &str) -> Value {
    if field == ID_FIELD {
        return aggregate.id().to_value();
    }
    let at = A::COLLECTION.indexes.iter().position(|index| index.field == field);
    at.and_then(|at| aggregate.index_values().into_iter().nth(at)).unwrap_or(Value::Null)
}

fn check_indexable<A: Aggregate>(field: &str, value: &Value) -> Result<()> {
    let collection = A::COLLECTION.name;
    match value {
        Value::Float(number) if number.is_nan() => Err(Error::invalid(format!(
            "`{field}` of `{collection}` is indexed and cannot be stored: it is not a number"
        ))),
        Value::Text(text) if text.len() > INDEXED_TEXT_BYTES_MAX => {
            let message = format!(
                "`{field}` of `{collection}` has {} bytes, the limit of what is indexed is \
                 {INDEXED_TEXT_BYTES_MAX}; use a shorter one, or keep long text in a field without \
                 an index",
                text.len()
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
