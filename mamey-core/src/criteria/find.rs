//! What a store must find: a collection, a filter, an order and two limits.

use super::collection::Collection;
use super::cursor::Cursor;
use super::filter::{Filter, ID_FIELD};
use super::page::PAGE_BYTES_MAX;
use super::value::Value;

/// One key of an order; see [`Find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SortKey {
    /// An indexed field or [`ID_FIELD`](crate::criteria::ID_FIELD).
    pub field: &'static str,
    /// Largest first and null last, instead of smallest first and null first.
    pub descending: bool,
}

impl SortKey {
    /// A key by `field`.
    #[must_use]
    pub const fn new(field: &'static str, descending: bool) -> Self {
        Self { field, descending }
    }
}

/// Which documents to find.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Find {
    /// Where.
    pub collection: &'static Collection,
    /// Which.
    pub filter: Filter,
    /// In which order; the id is always the last key.
    pub order: Vec<SortKey>,
    /// How many at most.
    pub limit: u32,
    /// How many bytes of documents at most; the first is found however long it is. Default:
    /// [`PAGE_BYTES_MAX`].
    pub bytes_max: usize,
}

impl Find {
    /// At most `limit` documents of `collection` that match, by id.
    #[must_use]
    pub const fn new(collection: &'static Collection, filter: Filter, limit: u32) -> Self {
        Self { collection, filter, limit, order: Vec::new(), bytes_max: PAGE_BYTES_MAX }
    }

    /// In which order; the id is always the last key.
    #[must_use]
    pub fn with_order(mut self, order: Vec<SortKey>) -> Self {
        self.order = order;
        self
    }

    /// How many bytes of documents at most; the first is found however long it is.
    #[must_use]
    pub const fn with_bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The fields of the order, the id last.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        let has_id = self.order.iter().any(|key| key.field == ID_FIELD);
        self.order.iter().map(|key| key.field).chain((!has_id).then_some(ID_FIELD))
    }

    /// The cursor after a document, of which `value_of` gives the value that the index holds at a
    /// place among [`Find::fields`].
    ///
    /// # Errors
    /// Those of `value_of`.
    pub fn cursor<E>(
        &self,
        mut value_of: impl FnMut(usize, &'static str) -> Result<Value, E>,
    ) -> Result<Cursor, E> {
        let values = self.fields().enumerate().map(|(place, field)| value_of(place, field));
        values.collect::<Result<_, E>>().map(Cursor)
    }
}
