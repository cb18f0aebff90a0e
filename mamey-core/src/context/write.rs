//! What a command or message handler is given: reads, buffered writes, and messages to send.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::cause::Cause;
use super::read::ReadContext;
use super::repository::Repository;
use super::scope::Scope;
use super::transaction::TransactionPlace;
use super::unit::SharedUnit;
use crate::domain::Aggregate;
use crate::message::{
    CONTENT_TYPE_JSON, ContextName, Direction, Envelope, Event, Headers, Message, Metadata, Target,
    check_payload,
};
use crate::store::UnitOfWork;
use crate::{Error, Result, ResultExt};

/// What a command or message handler is given, by reference.
///
/// Everything a handler writes or sends is buffered in its unit of work and committed at once
/// after the handler has returned `Ok`; nothing of it happens otherwise. A handler may run more
/// than once (a conflict, a redelivery): what it does outside of the context must tolerate that.
///
/// It dereferences to [`ReadContext`], so helpers that only read take either.
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
/// #[derive(Clone, Command)]
/// #[command(reply = OrderId)]
/// pub struct PlaceOrder {
///     pub customer: String,
///     pub cents: i64,
/// }
///
/// async fn place_order(command: PlaceOrder, cx: &Context) -> Result<OrderId> {
///     let PlaceOrder { customer, cents } = command;
///     let order = Order { id: cx.new_id(), customer, cents };
///     cx.repository::<Order>().add(&order)?;
///     cx.publish(&OrderPlaced { order: order.id })?;
///     Ok(order.id)
/// }
/// ```
pub struct Context {
    read: ReadContext,
    unit: SharedUnit,
}

impl Context {
    /// The context of one handler call.
    #[must_use]
    pub fn new(scope: Arc<Scope>, cause: Cause) -> Self {
        Self { read: ReadContext::new(scope, cause), unit: SharedUnit::default() }
    }

    /// Reads and writes aggregates of one type.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<'_, A> {
        Repository::new(&self.read, &self.unit)
    }

    /// Sends an event to every context that subscribes to it, once this unit has committed.
    ///
    /// # Errors
    /// `Misconfigured` when the context did not declare the event, `Invalid` when it cannot be
    /// written as JSON, `LimitExceeded`.
    pub fn publish<E: Event>(&self, event: &E) -> Result<()> {
        self.publish_with_headers(event, Headers::default())
    }

    /// As [`Context::publish`], with free headers.
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
    /// use mamey::message::Headers;
    ///
    /// fn announce(order: OrderId, cx: &Context) -> Result<()> {
    ///     let mut headers = Headers::default();
    ///     headers.insert("region", "eu")?;
    ///     cx.publish_with_headers(&OrderPlaced { order }, headers)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Context::publish`].
    pub fn publish_with_headers<E: Event>(&self, event: &E, headers: Headers) -> Result<()> {
        let scope = self.read.scope();
        if !scope.catalog.contains(Direction::Publishes, E::NAME) {
            return Err(Error::misconfigured(format!(
                "context `{}` publishes `{}` without declaring it: \
                 add `.publishes::<…>()` to its BoundedContext",
                scope.name,
                E::NAME
            )));
        }
        self.enqueue(event, Target::Any, headers)
    }

    /// Sends a message to one context by name, once this unit has committed. It must route.
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
    /// use mamey::Message;
    ///
    /// #[derive(Message, Serialize, Deserialize)]
    /// #[message(name = "payments.take-payment", key = order)]
    /// pub struct TakePayment {
    ///     pub order: OrderId,
    ///     pub cents: i64,
    /// }
    ///
    /// fn ask_for_payment(order: &Order, cx: &Context) -> Result<()> {
    ///     cx.send("payments", &TakePayment { order: order.id, cents: order.cents })
    /// }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a malformed name or a message that cannot be written as JSON,
    /// `LimitExceeded`.
    pub fn send<M: Message + Serialize>(&self, target: &str, message: &M) -> Result<()> {
        let target = Target::Service(ContextName::new(target)?);
        self.enqueue(message, target, Headers::default())
    }

    /// Takes what the call has buffered, and the transaction that it opened.
    ///
    /// # Errors
    /// `Misconfigured` while the [place](Context::transaction) of the transaction is held: its
    /// statements could not commit with the rest.
    #[inline]
    pub fn take_unit(&self) -> Result<UnitOfWork> {
        let mut transaction = self.read.transaction().free_place().ok_or_else(|| {
            Error::misconfigured(
                "the transaction is still in use: drop it before the handler returns",
            )
        })?;
        let mut unit = self.unit.take();
        unit.transaction = transaction.take();
        Ok(unit)
    }

    /// Whether the call has buffered nothing and opened no transaction, so that there is nothing to
    /// [take](Context::take_unit).
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        let transaction = self.read.transaction();
        let is_closed = transaction.free_place().is_some_and(|place| place.is_none());
        is_closed && self.unit.is_empty()
    }

    /// The place of the transaction that the handler opens, empty until then, held exclusively. It is
    /// for extensions that a store offers beside its ports.
    pub async fn transaction(&self) -> TransactionPlace<'_> {
        self.read.transaction().place().await
    }

    /// The messages that were published and sent so far, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Envelope> {
        self.unit.outbox()
    }

    fn enqueue<M: Message + Serialize>(
        &self,
        message: &M,
        target: Target,
        headers: Headers,
    ) -> Result<()> {
        let doing = || format!("sending `{}`", M::NAME);
        let payload = payload(message).with_context(doing)?;
        let envelope = Envelope { metadata: self.metadata(message, target, headers), payload };
        envelope.metadata.check().with_context(doing)?;
        self.unit.enqueue(envelope)
    }

    fn metadata<M: Message>(&self, message: &M, target: Target, headers: Headers) -> Metadata {
        let scope = self.read.scope();
        Metadata {
            id: scope.ids.message_id(),
            name: M::NAME.into(),
            version: M::VERSION,
            sender: scope.name.to_shared(),
            target,
            correlation_id: self.read.correlation_id(),
            causation_id: Some(self.read.causation_id()),
            time: scope.clock.now(),
            key: message.key(),
            tenant: self.read.shared_tenant(),
            trace: Some(self.read.trace_context().child(&*scope.ids)),
            content_type: CONTENT_TYPE_JSON.into(),
            must_route: M::MUST_ROUTE,
            headers,
        }
    }
}

fn payload<M: Message + Serialize>(message: &M) -> Result<Bytes> {
    let payload = message.encode()?;
    check_payload(payload.len())?;
    Ok(payload)
}

impl Deref for Context {
    type Target = ReadContext;

    fn deref(&self) -> &ReadContext {
        &self.read
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("read", &self.read).finish_non_exhaustive()
    }
}
