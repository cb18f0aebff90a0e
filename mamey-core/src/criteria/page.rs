//! Pages of documents: their sizes, and where the next one starts.

use super::cursor::Cursor;

/// How many documents a page holds unless told otherwise.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most documents one page can hold.
pub const PAGE_SIZE_MAX: u32 = 1000;

/// One page of documents, and where the next one starts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The documents, in the order asked for.
    pub items: Vec<T>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page of these documents.
    #[must_use]
    pub const fn new(items: Vec<T>, next: Option<Cursor>) -> Self {
        Self { items, next }
    }
}
