//! What handles a message: a plain async function, or a struct where there are dependencies.

use mamey_core::{Command, Context, Message, Query, ReadContext, Result};

/// Handles one command.
///
/// Every `async fn(C, &Context) -> Result<C::Reply>` is one. Implement it on a struct when the
/// handler has dependencies, with `async fn handle` in the impl.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the command `{C}`",
    label = "not `async fn({C}, &Context) -> Result<Reply>`",
    note = "write `async fn(command: TheCommand, cx: &Context) -> Result<TheReply>`, the reply as declared by the command",
    note = "its future must be Send: hold no `Rc`, no `RefCell` borrow and no lock guard across `.await`",
    note = "a closure that returns an async block cannot borrow the context: use a named async function or `async |command: TheCommand, cx: &Context|`"
)]
pub trait CommandHandler<C: Command>: Send + Sync + 'static {
    /// Handles the command. May run more than once; see [`Context`].
    ///
    /// # Errors
    /// Whatever kept the handler from doing it: nothing of this run is then kept.
    fn handle(&self, command: C, cx: &Context) -> impl Future<Output = Result<C::Reply>> + Send;
}

/// Answers one query, without a way to write.
///
/// Every `async fn(Q, &ReadContext) -> Result<Q::Reply>` is one.
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
    /// Whatever kept the handler from answering.
    fn handle(&self, query: Q, cx: &ReadContext) -> impl Future<Output = Result<Q::Reply>> + Send;
}

/// Handles one event, or another message that comes from a transport.
///
/// Every `async fn(M, &Context) -> Result<()>` is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the message `{M}`",
    label = "not `async fn({M}, &Context) -> Result<()>`",
    note = "write `async fn(message: TheMessage, cx: &Context) -> Result<()>`: nobody waits for a reply to a message",
    note = "its future must be Send: hold no `Rc`, no `RefCell` borrow and no lock guard across `.await`",
    note = "a closure that returns an async block cannot borrow the context: use a named async function or `async |message: TheMessage, cx: &Context|`"
)]
pub trait MessageHandler<M: Message>: Send + Sync + 'static {
    /// Handles the message. May run more than once; see [`Context`].
    ///
    /// # Errors
    /// Whatever kept the handler from doing it: nothing of this run is then kept, and the
    /// handler's retry policy decides what becomes of the message.
    fn handle(&self, message: M, cx: &Context) -> impl Future<Output = Result<()>> + Send;
}

/// An async function that borrows its context, which a plain `Fn` bound cannot say: the future's
/// type depends on the lifetime of the borrow.
///
/// Nothing to implement: every function of the form has it.
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
