//! Pages of documents: their sizes, what in them cannot be read, and where the next one starts.

use super::cursor::Cursor;
use super::value::Value;

/// How many documents a page has unless a limit is set.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most documents one page can hold.
pub const PAGE_SIZE_MAX: u32 = 1000;

/// The most bytes of documents in one page: 16 MiB. A page ends before the document that would exceed
/// them, but holds at least one, however long it is.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One page of documents, and where the next one starts.
///
/// ```
/// # use mamey::{Aggregate, Command, Context, Event, Id, Result, Uuid};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
/// # pub struct OrderId(Uuid);
/// # #[derive(Aggregate, Serialize, Deserialize)]
/// # #[aggregate(collection = "orders")]
/// # pub struct Order {
/// #     #[aggregate(id)]
/// #     id: OrderId,
/// #     #[aggregate(index)]
/// #     customer: String,
/// #     #[aggregate(index)]
/// #     cents: i64,
/// # }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(name = "orders.order-placed", key = order)]
/// # pub struct OrderPlaced { pub order: OrderId }
/// use mamey::{Criteria, ReadContext};
///
/// /// The customers of one page, and the token with which a caller asks for the next.
/// async fn customers(cx: &ReadContext) -> Result<(Vec<String>, Option<String>)> {
///     let page = cx.repository::<Order>().find(Criteria::all()).await?;
///     let next = page.next.map(|cursor| cursor.to_string());
///     Ok((page.items.into_iter().map(|order| order.into_inner().customer).collect(), next))
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The documents, in the order asked for.
    pub items: Vec<T>,
    /// The documents among them that this build cannot read, in the same order: written by another
    /// build, or damaged. They stay as they are until somebody
    /// [removes](crate::Repository::remove_unreadable) them.
    pub unreadable: Vec<UnreadableDocument>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page of these documents.
    #[must_use]
    pub const fn new(items: Vec<T>, next: Option<Cursor>) -> Self {
        Self { items, unreadable: Vec::new(), next }
    }

    /// The documents that cannot be read.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Vec<UnreadableDocument>) -> Self {
        self.unreadable = unreadable;
        self
    }
}

/// A document that this build cannot read as the aggregate of its collection: written by another
/// build, or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableDocument {
    /// The collection that it is in.
    pub collection: &'static str,
    /// Its id.
    pub id: Value,
    /// Its version.
    pub version: u64,
    /// Why it cannot be read, with the place in the document.
    pub why: String,
}

impl UnreadableDocument {
    /// A document that cannot be read.
    #[must_use]
    pub const fn new(collection: &'static str, id: Value, version: u64, why: String) -> Self {
        Self { collection, id, version, why }
    }
}
