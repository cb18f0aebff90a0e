//! What a query handler is given: reads and nothing else.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::cause::Cause;
use super::read_repository::ReadRepository;
use super::request::{RequestOrigin, UnaddressedRequest};
use super::scope::Scope;
use super::transaction::Transaction;
use crate::clock::Timestamp;
use crate::domain::{Aggregate, NewId};
use crate::id::MessageId;
use crate::message::{ContextName, CorrelationId, Request, TraceContext};
use crate::store::Store;

/// What a query handler is given. It can read but not write.
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
/// use mamey::{Query, ReadContext};
///
/// #[derive(Query)]
/// #[query(reply = Option<i64>)]
/// pub struct FindTotal {
///     pub order: OrderId,
/// }
///
/// async fn find_total(query: FindTotal, cx: &ReadContext) -> Result<Option<i64>> {
///     let order = cx.repository::<Order>().get(&query.order).await?;
///     Ok(order.map(|order| order.cents))
/// }
/// ```
pub struct ReadContext {
    scope: Arc<Scope>,
    cause: Cause,
    message_id: OnceLock<MessageId>,
    trace: OnceLock<TraceContext>,
    transaction: Transaction,
}

impl ReadContext {
    /// The context of one handler call.
    #[must_use]
    pub fn new(scope: Arc<Scope>, cause: Cause) -> Self {
        Self {
            scope,
            cause,
            message_id: OnceLock::new(),
            trace: OnceLock::new(),
            transaction: Transaction::default(),
        }
    }

    /// Reads aggregates of one type.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> ReadRepository<'_, A> {
        ReadRepository::new(&self.scope, &self.transaction)
    }

    /// Asks another context, and waits for its reply: `cx.request(message).to("context").await?`.
    ///
    /// It happens at once and outside of the unit of work: its effect in the other context stays
    /// even if this handler fails, and is repeated when this handler runs again. Give a command an
    /// idempotency key derived from [`ReadContext::message_id`]. No connection to the store and no
    /// lock is held while waiting, but the wait counts towards the handler's timeout.
    ///
    /// A reply shows another context's state, which may have changed when it arrives. Publish or
    /// send a message instead when nothing may be lost.
    ///
    /// ```
    /// use mamey::{Query, ReadContext, Result};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Query, Serialize, Deserialize)]
    /// #[query(name = "catalog.get-price", reply = i64)]
    /// pub struct GetPrice {
    ///     pub sku: String,
    /// }
    ///
    /// async fn price_of(sku: &str, cx: &ReadContext) -> Result<i64> {
    ///     cx.request(GetPrice { sku: sku.to_owned() }).to("catalog").await
    /// }
    /// ```
    pub fn request<R: Request>(&self, request: R) -> UnaddressedRequest<'_, R> {
        let origin = RequestOrigin {
            sender: self.scope.name.to_shared(),
            requester: &*self.scope.requester,
            clock: &*self.scope.clock,
            ids: &*self.scope.ids,
            cause: Cause {
                message_id: Some(self.message_id()),
                identity: self.cause.identity,
                correlation_id: Some(self.correlation_id()),
                causation_id: Some(self.causation_id()),
                trace: Some(self.trace_context().clone()),
                tenant: self.shared_tenant(),
            },
        };
        UnaddressedRequest::new(origin, request)
    }

    /// What the effect of this call is known by. It is the same in every run, so pass it as the
    /// deduplication key to systems outside.
    ///
    /// For a message, and a request of another context, it is the
    /// [identity](crate::message::MessageIdentity): the id alone is not unique, because two senders may
    /// use the same. The id that the sender gave, which its logs show, is the field
    /// `messaging.message.id` of the span, and a layer finds it in the metadata of its invocation.
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
    /// async fn charge(cents: i64, cx: &Context) {
    ///     // The same in every run of this handler, so the provider charges once.
    ///     let idempotency_key = cx.message_id().to_string();
    /// #   let _ = (cents, idempotency_key);
    /// }
    /// ```
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        let new = || self.scope.ids.message_id();
        *self.message_id.get_or_init(|| self.cause.effect_id().unwrap_or_else(new))
    }

    /// The id shared by everything that one outside request caused.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.cause.correlation_id.clone().unwrap_or_else(|| self.message_id().into())
    }

    /// What messages that are sent now name as their cause.
    pub(super) fn causation_id(&self) -> CorrelationId {
        self.cause.causation_id.clone().unwrap_or_else(|| self.message_id().into())
    }

    /// The trace this call belongs to; a new one when the caller has none.
    #[must_use]
    pub fn trace_context(&self) -> &TraceContext {
        let new = || TraceContext::root(&*self.scope.ids);
        self.trace.get_or_init(|| self.cause.trace.clone().unwrap_or_else(new))
    }

    /// The tenant the message belongs to.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.cause.tenant.as_deref()
    }

    /// The bounded context whose handler this is.
    #[must_use]
    pub fn name(&self) -> &ContextName {
        &self.scope.name
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.scope.clock.now()
    }

    /// A new id.
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
    /// fn next_order(customer: &str, cx: &Context) -> Order {
    ///     Order { id: cx.new_id(), customer: customer.to_owned(), cents: 0 }
    /// }
    /// ```
    #[must_use]
    pub fn new_id<I: NewId>(&self) -> I {
        I::from_new_uuid(self.scope.ids.next_uuid())
    }

    /// The context's share of the database, for what the repositories do not offer.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.scope.store
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The transaction of the handler; only a [`Context`](super::Context) offers to open it.
    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    pub(super) fn shared_tenant(&self) -> Option<Arc<str>> {
        self.cause.tenant.clone()
    }
}

impl fmt::Debug for ReadContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadContext")
            .field("scope", &self.scope)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}
