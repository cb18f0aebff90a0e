//! Pages of documents: their sizes, and where the next one starts.

use super::cursor::Cursor;

/// How many documents a page has unless a limit is set.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most documents one page can hold.
pub const PAGE_SIZE_MAX: u32 = 1000;

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
