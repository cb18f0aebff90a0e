//! The limit that a store declares for a document.

use bytes::Bytes;
use mamey_core::store::{Change, Expected, Write};
use mamey_core::{ErrorKind, Retry};

use super::fixture::{assert_kind, commit, fail, load_note, put_note, writes};
use super::harness::StoreHarness;
use crate::report::report;

/// A larger limit is not tried: the case would be about the memory of the machine.
const TRIED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A document of the largest size is kept; one byte more is refused for good, naming the document
/// and the limit.
pub async fn documents_are_kept_up_to_the_limit(harness: StoreHarness) {
    let store = harness.store().await;
    let capabilities = store.capabilities();
    let limit = capabilities.document_bytes_max;
    if limit > TRIED_BYTES_MAX {
        let line = format!("documents_are_kept_up_to_the_limit: did not try {limit} bytes");
        return report(capabilities.name, &line);
    }
    let error = fail(&*store, writes([note_of("large", limit + 1)])).await;
    assert_kind(&error, ErrorKind::LimitExceeded, "notes/large");
    assert_kind(&error, ErrorKind::LimitExceeded, &limit.to_string());
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(load_note(&*store, "large").await, None);
    commit(&*store, writes([note_of("full", limit)])).await;
    assert_eq!(load_note(&*store, "full").await.unwrap().data.len(), limit);
}

/// A note whose document, which is a text in quotes, has this many bytes.
fn note_of(id: &str, bytes: usize) -> Write {
    let data = Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2)));
    let mut write = put_note(id, Expected::Absent, "");
    write.change = Change::Put { data, index: Vec::new() };
    write
}
