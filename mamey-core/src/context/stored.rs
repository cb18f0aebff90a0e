//! Between aggregates and their stored documents: reading, checking and the errors of both.

use super::scope::Scope;
use crate::criteria::{
    ID_FIELD, INDEXED_TEXT_BYTES_MAX, UnreadableDocument, Value, indexed_bytes, indexed_values,
    is_indexable, shown,
};
use crate::domain::{Aggregate, Versioned};
use crate::json::to_json;
use crate::store::{Change, Document};
use crate::{Error, Result, Retry};

/// The aggregate that a document holds. A document that cannot be read is reported.
pub(super) fn read<A: Aggregate>(
    scope: &Scope,
    document: Document,
) -> Result<Versioned<A>, Unreadable> {
    let Document { id, version, data } = document;
    serde_json::from_slice(&data).map(|aggregate| Versioned::new(aggregate, version)).map_err(
        |cause| {
            let why = format!("it is not a `{}`: {cause}", std::any::type_name::<A>());
            let document = UnreadableDocument::new(A::COLLECTION.name, id, version, why);
            scope.unreadable.met(&document);
            Unreadable { document, cause }
        },
    )
}

/// A document that cannot be read, and why.
pub(super) struct Unreadable {
    pub(super) document: UnreadableDocument,
    cause: serde_json::Error,
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        unreadable_error(&unreadable.document).with_source(unreadable.cause)
    }
}

/// The error of a document that cannot be read. Another build may read it, so it is tried again.
pub(super) fn unreadable_error(document: &UnreadableDocument) -> Error {
    let UnreadableDocument { collection, id, version, why } = document;
    Error::invalid(format!(
        "the document {collection}/{id} at version {version} cannot be read: {why}; run a build that \
         knows its form, or remove it by `remove_unreadable`"
    ))
    .with_retry(Retry::Later)
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
