//! What a store must find: a collection, a filter, an order and a limit.

use super::collection::Collection;
use super::filter::Filter;

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
}

impl Find {
    /// At most `limit` documents of `collection` that match, by id.
    #[must_use]
    pub const fn new(collection: &'static Collection, filter: Filter, limit: u32) -> Self {
        Self { collection, filter, limit, order: Vec::new() }
    }

    /// In which order; the id is always the last key.
    #[must_use]
    pub fn with_order(mut self, order: Vec<SortKey>) -> Self {
        self.order = order;
        self
    }
}
