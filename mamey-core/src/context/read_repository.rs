//! Reads aggregates of one type: a thin typed façade over the documents of a store.

use std::fmt;
use std::marker::PhantomData;

use futures_util::stream::{self, Stream, TryStreamExt};

use super::stored::{absent, cursor_after, read};
use crate::criteria::{Criteria, IndexValue, Page, Value};
use crate::domain::{Aggregate, Versioned};
use crate::store::Store;
use crate::{Error, Result, ResultExt};

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
    store: &'c dyn Store,
    of: PhantomData<fn() -> A>,
}

impl<A> Clone for ReadRepository<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for ReadRepository<'_, A> {}

impl<'c, A: Aggregate> ReadRepository<'c, A> {
    pub(super) fn new(store: &'c dyn Store) -> Self {
        Self { store, of: PhantomData }
    }

    /// The aggregate with this id, or `None`.
    ///
    /// # Errors
    /// `Invalid` when the stored document is not an `A`; the store's error.
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
    /// As [`ReadRepository::get`].
    pub async fn get_many(&self, ids: &[A::Id]) -> Result<Vec<Option<Versioned<A>>>> {
        let ids: Vec<Value> = ids.iter().map(IndexValue::to_value).collect();
        let doing = || format!("loading from `{}`", A::COLLECTION.name);
        let documents = self.store.load(A::COLLECTION, &ids).await;
        let documents = documents.map_err(Error::of_store).with_context(doing)?;
        documents.into_iter().map(|document| document.map(read).transpose()).collect()
    }

    /// One page of the aggregates that match.
    ///
    /// # Errors
    /// `Invalid` for a cursor of other criteria; as [`ReadRepository::get`].
    pub async fn find(&self, criteria: Criteria<A>) -> Result<Page<Versioned<A>>> {
        let doing = || format!("finding in `{}`", A::COLLECTION.name);
        let find = criteria.to_find(A::COLLECTION).with_context(doing)?;
        let documents = self.store.find(&find).await;
        let documents = documents.map_err(Error::of_store).with_context(doing)?;
        let more = documents.len() > criteria.page_size();
        let last = criteria.page_size().checked_sub(1).filter(|_| more);
        let last = last.and_then(|last| documents.get(last));
        let next = last.map(|last| cursor_after::<A>(&find.order, last)).transpose()?;
        let items = documents.into_iter().take(criteria.page_size()).map(read);
        let items = items.collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    /// All aggregates that match, read a page at a time: memory stays at one page of the criteria's
    /// size, however many there are.
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
    /// Items are as [`ReadRepository::find`]; the first error ends the stream.
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
    /// As [`ReadRepository::find`].
    pub async fn find_one(&self, criteria: Criteria<A>) -> Result<Option<Versioned<A>>> {
        Ok(self.find(criteria.limit(1)).await?.items.pop())
    }

    /// How many aggregates match; page and order of the criteria are ignored.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn count(&self, criteria: Criteria<A>) -> Result<u64> {
        let doing = || format!("counting in `{}`", A::COLLECTION.name);
        let counted = self.store.count(A::COLLECTION, criteria.filter()).await;
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
        let found = self.store.find(&find).await.map_err(Error::of_store);
        Ok(!found.with_context(doing)?.is_empty())
    }
}

type Items<A> = stream::Iter<std::vec::IntoIter<Result<Versioned<A>>>>;

async fn next_page<A: Aggregate>(
    repository: ReadRepository<'_, A>,
    page: Option<Criteria<A>>,
) -> Result<Option<(Items<A>, Option<Criteria<A>>)>> {
    let Some(criteria) = page else { return Ok(None) };
    let found = repository.find(criteria.clone()).await?;
    let items: Vec<_> = found.items.into_iter().map(Ok).collect();
    Ok(Some((stream::iter(items), found.next.map(|cursor| criteria.after(cursor)))))
}

impl<A: Aggregate> fmt::Debug for ReadRepository<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadRepository({})", A::COLLECTION.name)
    }
}
