//! Reads aggregates of one type: a thin typed façade over the documents of a store.

use std::fmt;
use std::marker::PhantomData;

use futures_util::stream::{self, Stream, TryStreamExt};

use super::scope::Scope;
use super::stored::{Unreadable, absent, read, unreadable_error};
use super::transaction::{Transaction, TransactionPlace};
use crate::criteria::{Criteria, Cursor, Find, IndexValue, Page, Value};
use crate::domain::{Aggregate, Versioned};
use crate::store::{DocumentStore, Found, LOAD_BYTES_MAX, LOAD_IDS_MAX};
use crate::{Error, Result, ResultExt, Retry};

/// Reads aggregates of one type. It sees what is committed.
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
/// use mamey::{Page, ReadContext, Versioned};
///
/// async fn of_customer(customer: &str, cx: &ReadContext) -> Result<Page<Versioned<Order>>> {
///     let criteria = Order::CUSTOMER.eq(customer).sort_by(Order::CENTS.desc()).limit(20);
///     cx.repository::<Order>().find(criteria).await
/// }
/// ```
pub struct ReadRepository<'c, A> {
    scope: &'c Scope,
    transaction: &'c Transaction,
    of: PhantomData<fn() -> A>,
}

impl<A> Clone for ReadRepository<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for ReadRepository<'_, A> {}

impl<'c, A: Aggregate> ReadRepository<'c, A> {
    pub(super) fn new(scope: &'c Scope, transaction: &'c Transaction) -> Self {
        Self { scope, transaction, of: PhantomData }
    }

    /// The aggregate with this id, or `None`.
    ///
    /// # Errors
    /// `Invalid`, naming the document and the place in it, when it cannot be read as an `A`; the
    /// store's error.
    pub async fn get(&self, id: &A::Id) -> Result<Option<Versioned<A>>> {
        let mut found = self.get_many(std::slice::from_ref(id)).await?;
        Ok(found.pop().flatten())
    }

    /// The aggregate with this id.
    ///
    /// # Errors
    /// `NotFound` when there is none; as [`ReadRepository::get`].
    pub async fn load(&self, id: &A::Id) -> Result<Versioned<A>> {
        self.get(id).await?.ok_or_else(|| absent::<A>(&id.to_value()))
    }

    /// The aggregates with these ids, in their order, `None` for those that are absent.
    ///
    /// # Errors
    /// `LimitExceeded` for more than [`LOAD_IDS_MAX`] ids, and when their documents together have
    /// more than [`LOAD_BYTES_MAX`] bytes; as [`ReadRepository::get`].
    pub async fn get_many(&self, ids: &[A::Id]) -> Result<Vec<Option<Versioned<A>>>> {
        let doing = || format!("loading from `{}`", A::COLLECTION.name);
        check_ids(ids.len()).with_context(doing)?;
        let ids: Vec<Value> = ids.iter().map(IndexValue::to_value).collect();
        let mut open = self.transaction.open();
        let inside = inside(self.scope, &mut open);
        let load = source(self.scope, &inside).load(A::COLLECTION, &ids, LOAD_BYTES_MAX);
        let documents = load.await.map_err(Error::of_store).with_context(doing)?;
        let read = |document| read(self.scope, document).map_err(Error::from);
        documents.into_iter().map(|document| document.map(read).transpose()).collect()
    }

    /// One page of the aggregates that match. It ends at the limit of the criteria, or before the
    /// document that would exceed [`PAGE_BYTES_MAX`](crate::criteria::PAGE_BYTES_MAX).
    ///
    /// A document that cannot be read does not fail the page: it is in [`Page::unreadable`].
    ///
    /// # Errors
    /// `Invalid` for a cursor of other criteria; the store's error.
    pub async fn find(&self, criteria: Criteria<A>) -> Result<Page<Versioned<A>>> {
        let (found, next) = self.read_page(&criteria).await?;
        let (mut items, mut unreadable) = (Vec::with_capacity(found.len()), Vec::new());
        for document in found {
            match document {
                Ok(aggregate) => items.push(aggregate),
                Err(document) => unreadable.push(document.document),
            }
        }
        Ok(Page { items, unreadable, next })
    }

    /// All aggregates that match, read a page at a time: memory stays at one page of the criteria's
    /// size, and of [`PAGE_BYTES_MAX`](crate::criteria::PAGE_BYTES_MAX), however many there are.
    ///
    /// A document that cannot be read is an error in its place, and the stream goes on behind it:
    /// who wants the others too looks at each item, instead of ending at the first error.
    ///
    /// Each page is read when it is needed and sees what is committed then. An aggregate that exists
    /// during the whole read is returned once, unless its sort keys change.
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
    /// use futures_util::TryStreamExt;
    /// use mamey::ReadContext;
    /// use mamey::criteria::Criteria;
    ///
    /// async fn revenue(cx: &ReadContext) -> Result<i64> {
    ///     let orders = cx.repository::<Order>().stream(Criteria::all().limit(500));
    ///     orders.try_fold(0, |sum, order| async move { Ok(sum + order.cents) }).await
    /// }
    /// ```
    ///
    /// # Errors
    /// An item is `Invalid`, naming the document, for one that cannot be read; any other error is as
    /// of [`ReadRepository::find`] and ends the stream.
    pub fn stream(
        &self,
        criteria: Criteria<A>,
    ) -> impl Stream<Item = Result<Versioned<A>>> + Send + use<'c, A> {
        let repository = *self;
        stream::try_unfold(Some(criteria), move |page| next_page(repository, page)).try_flatten()
    }

    /// The first aggregate that matches.
    ///
    /// # Errors
    /// `Invalid`, naming the document, when the first that matches cannot be read; as
    /// [`ReadRepository::find`].
    pub async fn find_one(&self, criteria: Criteria<A>) -> Result<Option<Versioned<A>>> {
        let mut page = self.find(criteria.limit(1)).await?;
        match page.unreadable.first() {
            Some(unreadable) => Err(unreadable_error(unreadable)),
            None => Ok(page.items.pop()),
        }
    }

    /// How many aggregates match; page and order of the criteria are ignored.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn count(&self, criteria: Criteria<A>) -> Result<u64> {
        let doing = || format!("counting in `{}`", A::COLLECTION.name);
        let mut open = self.transaction.open();
        let inside = inside(self.scope, &mut open);
        let counted = source(self.scope, &inside).count(A::COLLECTION, criteria.filter()).await;
        counted.map_err(Error::of_store).with_context(doing)
    }

    /// Whether any aggregate matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn exists(&self, criteria: Criteria<A>) -> Result<bool> {
        let mut find = criteria.to_find(A::COLLECTION)?;
        find.limit = 1;
        let doing = || format!("finding in `{}`", A::COLLECTION.name);
        let found = self.documents(&find).await.with_context(doing)?;
        Ok(!found.documents.is_empty())
    }

    /// One page in its order, and where the next one starts.
    async fn read_page(&self, criteria: &Criteria<A>) -> Result<(Vec<Read<A>>, Option<Cursor>)> {
        let doing = || format!("finding in `{}`", A::COLLECTION.name);
        let find = criteria.to_find(A::COLLECTION).with_context(doing)?;
        let found = self.documents(&find).await.with_context(doing)?;
        let read = |document| read(self.scope, document);
        Ok((found.documents.into_iter().map(read).collect(), found.next))
    }

    async fn documents(&self, find: &Find) -> Result<Found> {
        let mut open = self.transaction.open();
        let inside = inside(self.scope, &mut open);
        source(self.scope, &inside).find(find).await.map_err(Error::of_store)
    }
}

/// A document of a page, if it can be read.
type Read<A> = Result<Versioned<A>, Unreadable>;

type Items<A> = stream::Iter<std::vec::IntoIter<Result<Versioned<A>>>>;

/// Reads inside the transaction that the handler has open, so that it waits for no second connection
/// while it keeps one from others. While the transaction is in use, it reads outside of it.
fn inside<'p>(
    scope: &'p Scope,
    open: &'p mut Option<TransactionPlace<'_>>,
) -> Option<Box<dyn DocumentStore + 'p>> {
    scope.store.inside(open.as_mut()?.as_mut()?)
}

fn source<'s>(
    scope: &'s Scope,
    inside: &'s Option<Box<dyn DocumentStore + '_>>,
) -> &'s (dyn DocumentStore + 's) {
    match inside {
        Some(inside) => &**inside,
        None => &*scope.store,
    }
}

fn check_ids(ids: usize) -> Result<()> {
    if ids <= LOAD_IDS_MAX {
        return Ok(());
    }
    Err(Error::limit_exceeded(format!(
        "{ids} ids, the limit is {LOAD_IDS_MAX} in one call: load them in several"
    ))
    .with_retry(Retry::Never))
}

async fn next_page<A: Aggregate>(
    repository: ReadRepository<'_, A>,
    page: Option<Criteria<A>>,
) -> Result<Option<(Items<A>, Option<Criteria<A>>)>> {
    let Some(criteria) = page else { return Ok(None) };
    let (found, next) = repository.read_page(&criteria).await?;
    let items: Vec<_> = found.into_iter().map(|item| item.map_err(Error::from)).collect();
    Ok(Some((stream::iter(items), next.map(|cursor| criteria.after(cursor)))))
}

impl<A: Aggregate> fmt::Debug for ReadRepository<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadRepository({})", A::COLLECTION.name)
    }
}
