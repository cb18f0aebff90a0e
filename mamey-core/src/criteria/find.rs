//! What a store is asked for: a collection, a filter, an order and a limit.

use super::collection::Collection;
use super::filter::Filter;

/// One key of an order; see [`Find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// An indexed field or [`ID_FIELD`](crate::criteria::ID_FIELD).
    pub field: &'static str,
    /// Largest first and null last, instead of smallest first and null first.
    pub descending: bool,
}

/// Which documents to find.
#[derive(Clone, Debug)]
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
