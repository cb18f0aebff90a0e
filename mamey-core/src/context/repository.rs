//! Reads and writes aggregates of one type within a handler's unit of work.

use std::fmt;

use futures_util::stream::Stream;

use super::read::ReadContext;
use super::read_repository::ReadRepository;
use super::scope::Scope;
use super::stored::{absent, put, read};
use super::unit::SharedUnit;
use crate::criteria::{Criteria, IndexValue, Page, UnreadableDocument};
use crate::domain::{Aggregate, Versioned};
use crate::store::{Change, Document, Expected, Guard, Write};
use crate::{Error, Result};

/// Reads and writes aggregates of one type within a handler's unit of work.
///
/// Loading by id sees what the unit has buffered; [`Repository::find`], [`Repository::count`] and
/// [`Repository::exists`] see only what is committed. Writes are buffered and committed at once
/// after the handler.
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
/// async fn raise(order: OrderId, cents: i64, cx: &Context) -> Result<()> {
///     let orders = cx.repository::<Order>();
///     let mut order = orders.load(&order).await?;
///     order.cents += cents;
///     orders.save(&order)
/// }
/// ```
pub struct Repository<'c, A> {
    scope: &'c Scope,
    read: ReadRepository<'c, A>,
    unit: &'c SharedUnit,
}

impl<'c, A: Aggregate> Repository<'c, A> {
    pub(super) fn new(cx: &'c ReadContext, unit: &'c SharedUnit) -> Self {
        Self { scope: cx.scope(), read: cx.repository(), unit }
    }

    /// The aggregate with this id, or `None`.
    ///
    /// # Errors
    /// As [`ReadRepository::get`].
    pub async fn get(&self, id: &A::Id) -> Result<Option<Versioned<A>>> {
        match self.buffered(id) {
            Some(found) => found,
            None => self.read.get(id).await,
        }
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
        let mut found = self.read.get_many(ids).await?;
        for (id, slot) in ids.iter().zip(&mut found) {
            if let Some(buffered) = self.buffered(id) {
                *slot = buffered?;
            }
        }
        Ok(found)
    }

    /// One page of the committed aggregates that match.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn find(&self, criteria: Criteria<A>) -> Result<Page<Versioned<A>>> {
        self.read.find(criteria).await
    }

    /// All committed aggregates that match, read a page at a time.
    ///
    /// # Errors
    /// As [`ReadRepository::stream`].
    pub fn stream(
        &self,
        criteria: Criteria<A>,
    ) -> impl Stream<Item = Result<Versioned<A>>> + Send + use<'c, A> {
        self.read.stream(criteria)
    }

    /// The first committed aggregate that matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn find_one(&self, criteria: Criteria<A>) -> Result<Option<Versioned<A>>> {
        self.read.find_one(criteria).await
    }

    /// How many committed aggregates match.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn count(&self, criteria: Criteria<A>) -> Result<u64> {
        self.read.count(criteria).await
    }

    /// Whether any committed aggregate matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn exists(&self, criteria: Criteria<A>) -> Result<bool> {
        self.read.exists(criteria).await
    }

    /// Adds a new aggregate. The commit fails with `AlreadyExists` when its id is taken.
    ///
    /// # Errors
    /// `Invalid` when it cannot be stored, `AlreadyExists` when this unit has put it, `LimitExceeded`.
    pub fn add(&self, aggregate: &A) -> Result<()> {
        self.put(aggregate, Expected::Absent)
    }

    /// Saves a loaded aggregate. The commit is a conflict when it has changed in the meantime, and
    /// the handler then runs again.
    ///
    /// # Errors
    /// `Invalid` when it cannot be stored, `NotFound` when this unit has removed it, `AlreadyExists`
    /// when this unit has added it although it was loaded, `Conflict` when this unit writes another
    /// version of it, `LimitExceeded`.
    pub fn save(&self, aggregate: &Versioned<A>) -> Result<()> {
        self.put(aggregate, Expected::Version(aggregate.version()))
    }

    /// Removes a loaded aggregate, under the same condition as [`Repository::save`].
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
    /// async fn delete(order: OrderId, cx: &Context) -> Result<()> {
    ///     let orders = cx.repository::<Order>();
    ///     let order = orders.load(&order).await?;
    ///     orders.remove(&order)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Repository::save`]; what this unit has removed may be removed again.
    pub fn remove(&self, aggregate: &Versioned<A>) -> Result<()> {
        let (id, expected) = (aggregate.id().to_value(), Expected::Version(aggregate.version()));
        self.unit.write(Write::new(A::COLLECTION, id, expected, Change::Remove))
    }

    /// Removes a document that cannot be read, for somebody who means to: what it holds is lost. The
    /// commit is a conflict when it has changed in the meantime.
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
    /// async fn delete_damaged(order: OrderId, cx: &Context) -> Result<()> {
    ///     let orders = cx.repository::<Order>();
    ///     let page = orders.find(Order::ID.eq(order)).await?;
    ///     page.unreadable.iter().try_for_each(|document| orders.remove_unreadable(document))
    /// }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a document of another collection, `LimitExceeded`.
    pub fn remove_unreadable(&self, document: &UnreadableDocument) -> Result<()> {
        let UnreadableDocument { collection, id, version, .. } = document;
        if *collection != A::COLLECTION.name {
            return Err(Error::invalid(format!(
                "{collection}/{id} is not of the collection `{}`: remove it by the repository of its \
                 own aggregate",
                A::COLLECTION.name
            )));
        }
        let expected = Expected::Version(*version);
        self.unit.write(Write::new(A::COLLECTION, id.clone(), expected, Change::Remove))
    }

    /// Makes the commit a conflict when a loaded aggregate has changed in the meantime, for
    /// decisions that rest on it without writing it.
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
    /// async fn pay_if_placed(order: OrderId, cx: &Context) -> Result<()> {
    ///     let orders = cx.repository::<Order>();
    ///     let order = orders.load(&order).await?;
    ///     // The decision depends on this order, although it is not written.
    ///     orders.guard(&order)?;
    ///     cx.publish(&OrderPlaced { order: order.id })
    /// }
    /// ```
    ///
    /// What the unit itself does with the aggregate is no change; one that it writes is guarded by that.
    ///
    /// # Errors
    /// `Conflict` when this unit writes or guards another version of it, `AlreadyExists` when this
    /// unit has added it although it was loaded, `LimitExceeded` past
    /// [`GUARDS_PER_UNIT_MAX`](crate::store::GUARDS_PER_UNIT_MAX) in one unit.
    pub fn guard(&self, aggregate: &Versioned<A>) -> Result<()> {
        let (id, version) = (aggregate.id().to_value(), aggregate.version());
        self.unit.guard(Guard::new(A::COLLECTION, id, version))
    }

    fn buffered(&self, id: &A::Id) -> Option<Result<Option<Versioned<A>>>> {
        let write = self.unit.write_of(A::COLLECTION, &id.to_value())?;
        let (version, id) = (write.seen_version(), write.id);
        Some(match write.change {
            Change::Put { data, .. } => {
                let document = Document::new(id, version, data);
                read(self.scope, document).map(Some).map_err(Error::from)
            }
            Change::Remove => Ok(None),
        })
    }

    fn put(&self, aggregate: &A, expected: Expected) -> Result<()> {
        let id = aggregate.id().to_value();
        let change = put(&id, aggregate)?;
        self.unit.write(Write::new(A::COLLECTION, id, expected, change))
    }
}

impl<A: Aggregate> fmt::Debug for Repository<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", A::COLLECTION.name)
    }
}
