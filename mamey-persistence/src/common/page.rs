//! Fills a page with documents until one of its limits is reached.

use mamey_core::criteria::{Cursor, Find, Value};
use mamey_core::store::{Document, Found};

/// How many documents are expected: those of a page of the usual size.
const EXPECTED: usize = 50;

/// A page that is being filled.
pub(crate) struct Filling {
    documents: Vec<Document>,
    /// How many documents were admitted.
    pub(crate) count: usize,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
    is_full: bool,
}

impl Filling {
    /// An empty page, which ends at the limits of the find.
    pub(crate) fn new(find: &Find) -> Self {
        let count_max = find.limit as usize;
        Self {
            documents: Vec::with_capacity(count_max.min(EXPECTED)),
            count: 0,
            bytes: 0,
            count_max,
            bytes_max: find.bytes_max,
            is_full: false,
        }
    }

    /// Whether the next document, of this many bytes, belongs to the page. If not, the page is full.
    pub(crate) fn admits(&mut self, bytes: usize) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        let fits = self.count < self.count_max && (self.count == 0 || sum <= self.bytes_max);
        if self.is_full || !fits {
            self.is_full = true;
            return false;
        }
        (self.count, self.bytes) = (self.count + 1, sum);
        true
    }

    /// Adds a document that was admitted.
    pub(crate) fn push(&mut self, document: Document) {
        self.documents.push(document);
    }

    /// The page, with the cursor after its last document if it is full. `value_of` gives what the
    /// index holds of that document, at a place among the find's fields.
    pub(crate) fn end<E>(
        self,
        find: &Find,
        value_of: impl FnMut(usize, &'static str) -> Result<Value, E>,
    ) -> Result<Found, E> {
        let next: Option<Cursor> =
            (self.is_full && self.count > 0).then(|| find.cursor(value_of)).transpose()?;
        Ok(Found::new(self.documents, next))
    }
}
