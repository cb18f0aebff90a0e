//! What handles a message: a plain async function, or a struct for a handler with dependencies.

use mamey_core::{Command, Context, Message, Query, ReadContext, Result};

/// Handles one command.
///
/// Every `async fn(C, &Context) -> Result<C::Reply>` is a handler. For a handler with dependencies,
/// implement the trait on a struct, with `async fn handle` in the impl:
///
/// ```
/// use mamey::{BoundedContext, Command, CommandHandler, Context, Result};
///
/// #[derive(Clone, Command)]
/// #[command(reply = i64)]
/// struct Quote { cents: i64 }
///
/// struct Quoting { fee_cents: i64 }
///
/// impl CommandHandler<Quote> for Quoting {
///     async fn handle(&self, command: Quote, _: &Context) -> Result<i64> {
///         Ok(command.cents + self.fee_cents)
///     }
/// }
///
/// let sales = BoundedContext::new("sales").command(Quoting { fee_cents: 50 });
/// # assert!(sales.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the command `{C}`",
    label = "not `async fn({C}, &Context) -> Result<Reply>`",
    note = "write `async fn(command: TheCommand, cx: &Context) -> Result<TheReply>`, the reply as declared by the command",
    note = "its future must be Send: hold no `Rc`, no `RefCell` borrow and no lock guard across `.await`",
    note = "a closure that returns an async block cannot borrow the context: use a named async function or `async |command: TheCommand, cx: &Context|`"
)]
pub trait CommandHandler<C: Command>: Send + Sync + 'static {
    /// Handles the command. It may run more than once; see [`Context`].
    ///
    /// # Errors
    /// Why the handler failed. Nothing that this run has buffered is then committed.
    fn handle(&self, command: C, cx: &Context) -> impl Future<Output = Result<C::Reply>> + Send;
}

/// Answers one query. It cannot write.
///
/// Every `async fn(Q, &ReadContext) -> Result<Q::Reply>` is a handler:
///
/// ```
/// use mamey::{Aggregate, BoundedContext, Query, ReadContext, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Query)]
/// #[query(reply = u32)]
/// struct UnitsOf(String);
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// #[aggregate(collection = "orders")]
/// struct Order { #[aggregate(id)] id: String, units: u32 }
///
/// async fn units_of(query: UnitsOf, cx: &ReadContext) -> Result<u32> {
///     Ok(cx.repository::<Order>().load(&query.0).await?.units)
/// }
///
/// let orders = BoundedContext::new("orders").aggregate::<Order>().query(units_of);
/// # assert!(orders.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the query `{Q}`",
    label = "not `async fn({Q}, &ReadContext) -> Result<Reply>`",
    note = "write `async fn(query: TheQuery, cx: &ReadContext) -> Result<TheReply>`: a query handler gets a `ReadContext`, because it does not write",
    note = "its future must be Send: hold no `Rc`, no `RefCell` borrow and no lock guard across `.await`",
    note = "a closure that returns an async block cannot borrow the context: use a named async function or `async |query: TheQuery, cx: &ReadContext|`"
)]
pub trait QueryHandler<Q: Query>: Send + Sync + 'static {
    /// Answers the query.
    ///
    /// # Errors
    /// Why the handler could not answer.
    fn handle(&self, query: Q, cx: &ReadContext) -> impl Future<Output = Result<Q::Reply>> + Send;
}

/// Handles one event, or another message that comes from a transport.
///
/// Every `async fn(M, &Context) -> Result<()>` is a handler:
///
/// ```
/// use mamey::{BoundedContext, Context, Event, Message, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "orders.placed", key = id)]
/// struct OrderPlaced { id: String }
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[message(name = "billing.bill")]
/// struct Bill { order_id: String }
///
/// async fn on_order_placed(event: OrderPlaced, cx: &Context) -> Result<()> {
///     cx.send("billing", &Bill { order_id: event.id })
/// }
///
/// let sales = BoundedContext::new("sales").on(on_order_placed);
/// # assert!(sales.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the message `{M}`",
    label = "not `async fn({M}, &Context) -> Result<()>`",
    note = "write `async fn(message: TheMessage, cx: &Context) -> Result<()>`: a message has no reply",
    note = "its future must be Send: hold no `Rc`, no `RefCell` borrow and no lock guard across `.await`",
    note = "a closure that returns an async block cannot borrow the context: use a named async function or `async |message: TheMessage, cx: &Context|`"
)]
pub trait MessageHandler<M: Message>: Send + Sync + 'static {
    /// Handles the message. It may run more than once; see [`Context`].
    ///
    /// # Errors
    /// Why the handler failed. Nothing that this run has buffered is then committed, and the
    /// handler's retry policy decides whether the message is handled again.
    fn handle(&self, message: M, cx: &Context) -> impl Future<Output = Result<()>> + Send;
}

/// An async function that borrows its context. A plain `Fn` bound cannot express it: the type of
/// the future depends on the lifetime of the borrow.
///
/// It is implemented for every function of this form already.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `async fn({M}, &{Cx}) -> Result<{R}>`",
    label = "not `async fn({M}, &{Cx}) -> Result<{R}>`",
    note = "a closure that returns an async block cannot borrow the context: use a named async function"
)]
pub trait HandlerFn<'a, M, Cx: 'a, R>: Send + Sync + 'static {
    /// The function's future.
    type Future: Future<Output = Result<R>> + Send + 'a;

    /// Calls the function.
    fn call(&self, message: M, cx: &'a Cx) -> Self::Future;
}

impl<'a, F, M, Cx, R, Fut> HandlerFn<'a, M, Cx, R> for F
where
    F: Fn(M, &'a Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'a,
    Cx: 'a,
{
    type Future = Fut;

    fn call(&self, message: M, cx: &'a Cx) -> Fut {
        self(message, cx)
    }
}

impl<F, C> CommandHandler<C> for F
where
    C: Command,
    F: for<'a> HandlerFn<'a, C, Context, C::Reply>,
{
    fn handle(&self, command: C, cx: &Context) -> impl Future<Output = Result<C::Reply>> + Send {
        self.call(command, cx)
    }
}

impl<F, Q> QueryHandler<Q> for F
where
    Q: Query,
    F: for<'a> HandlerFn<'a, Q, ReadContext, Q::Reply>,
{
    fn handle(&self, query: Q, cx: &ReadContext) -> impl Future<Output = Result<Q::Reply>> + Send {
        self.call(query, cx)
    }
}

impl<F, M> MessageHandler<M> for F
where
    M: Message,
    F: for<'a> HandlerFn<'a, M, Context, ()>,
{
    fn handle(&self, message: M, cx: &Context) -> impl Future<Output = Result<()>> + Send {
        self.call(message, cx)
    }
}
