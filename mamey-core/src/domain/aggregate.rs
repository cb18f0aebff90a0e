//! Aggregates: what is loaded, changed and saved as one.

use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::criteria::{Collection, IndexValue, Value};

/// A consistency boundary: loaded, changed and saved as one document with a version.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    note = "add `#[derive(mamey::Aggregate, Serialize, Deserialize)]`, `#[aggregate(collection = \"…\")]` and `#[aggregate(id)]` on its id"
)]
pub trait Aggregate: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The type of its id.
    type Id: IndexValue;

    /// Where it is kept, and what is indexed.
    const COLLECTION: &'static Collection;

    /// Its id, which never changes.
    fn id(&self) -> &Self::Id;

    /// The values of the indexed fields, in the order of [`Collection::indexes`]. They are what the
    /// document holds under the fields' names; a save that finds a difference is refused.
    fn index_values(&self) -> Vec<Value>;
}

/// An id that can be made from a new UUID; implemented by typed ids over `Uuid`.
pub trait NewId {
    /// Wraps a new UUID.
    fn from_new_uuid(uuid: Uuid) -> Self;
}

impl NewId for Uuid {
    fn from_new_uuid(uuid: Uuid) -> Self {
        uuid
    }
}

/// A loaded aggregate and the version it was loaded at.
///
/// It dereferences to the aggregate. Saving it succeeds only while the stored version is still the
/// same; otherwise the commit is a conflict and the handler runs again.
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
/// use mamey::Versioned;
///
/// /// It is used like the aggregate.
/// fn add_shipping(order: &mut Versioned<Order>) {
///     order.cents += 490;
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<A> {
    aggregate: A,
    version: u64,
}

impl<A> Versioned<A> {
    pub(crate) const fn new(aggregate: A, version: u64) -> Self {
        Self { aggregate, version }
    }

    /// The version it was loaded at, counted from 1.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The aggregate alone.
    #[must_use]
    pub fn into_inner(self) -> A {
        self.aggregate
    }
}

impl<A> Deref for Versioned<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.aggregate
    }
}

impl<A> DerefMut for Versioned<A> {
    fn deref_mut(&mut self) -> &mut A {
        &mut self.aggregate
    }
}
