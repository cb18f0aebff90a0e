//! Refuses to load more bytes of documents at once than the limit.

use mamey_core::criteria::Collection;
use mamey_core::store::Document;
use mamey_core::{Error, Result, Retry};

/// Refuses documents that have more bytes than the limit, unless there is one alone: an id that was
/// given twice counts twice.
pub(crate) fn within(
    collection: &Collection,
    documents: Vec<Option<Document>>,
    bytes_max: usize,
) -> Result<Vec<Option<Document>>> {
    let bytes: usize = documents.iter().flatten().map(|document| document.data.len()).sum();
    if documents.len() <= 1 || bytes <= bytes_max {
        return Ok(documents);
    }
    Err(too_large(collection, documents.len(), bytes_max))
}

/// The error of a load whose documents have more bytes than the limit.
pub(crate) fn too_large(collection: &Collection, ids: usize, bytes_max: usize) -> Error {
    let name = collection.name;
    Error::limit_exceeded(format!(
        "the documents of {ids} ids of `{name}` have more than {bytes_max} bytes, the limit of one \
         load: load fewer at a time"
    ))
    .with_retry(Retry::Never)
}
