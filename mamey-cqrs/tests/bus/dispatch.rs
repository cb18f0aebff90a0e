//! Commands and queries find their handlers by type, and replies come back typed.

use std::sync::Arc;

use futures_util::FutureExt;
use mamey_core::message::TraceContext;
use mamey_core::{Command, Context, ErrorKind, Message, Query, ReadContext, Result};
use mamey_cqrs::{BoundedContext, CommandHandler, QueryHandler};

use crate::no_store::open;

#[derive(Clone, serde::Serialize)]
struct Greet(&'static str);

impl Message for Greet {
    const NAME: &'static str = "greet";
}

impl Command for Greet {
    type Reply = String;
}

struct HowMany;

impl Message for HowMany {
    const NAME: &'static str = "how-many";
}

impl Query for HowMany {
    /// Not `Sync`, `Clone` or serializable: a reply is only moved.
    type Reply = std::cell::Cell<u32>;
}

async fn greet(command: Greet, cx: &Context) -> Result<String> {
    tokio::task::yield_now().await;
    Ok(format!("{} from {}", command.0, cx.name()))
}

async fn how_many(_: HowMany, cx: &ReadContext) -> Result<std::cell::Cell<u32>> {
    Ok(std::cell::Cell::new(cx.name().as_str().len() as u32))
}

/// A handler with a dependency.
struct Greeter(Arc<str>);

impl CommandHandler<Greet> for Greeter {
    async fn handle(&self, command: Greet, _: &Context) -> Result<String> {
        Ok(format!("{} {}", self.0, command.0))
    }
}

impl QueryHandler<HowMany> for Greeter {
    async fn handle(&self, _: HowMany, cx: &ReadContext) -> Result<std::cell::Cell<u32>> {
        how_many(HowMany, cx).await
    }
}

#[tokio::test]
async fn functions_are_handlers_and_their_message_is_inferred() {
    let runtime = open(BoundedContext::new("hall").command(greet).query(how_many));
    assert_eq!(runtime.send(Greet("hello")).await.unwrap(), "hello from hall");
    assert_eq!(runtime.query(HowMany).await.unwrap().get(), 4);
}

#[tokio::test]
async fn structs_with_dependencies_are_handlers_too() {
    let greeter = || Greeter("dear".into());
    let context = BoundedContext::new("hall").command(greeter()).query(greeter());
    let runtime = open(context);
    assert_eq!(runtime.send(Greet("reader")).await.unwrap(), "dear reader");
    assert_eq!(runtime.query(HowMany).await.unwrap().get(), 4);
}

#[tokio::test]
async fn async_closures_may_borrow_the_context() {
    let greeter = async |command: Greet, cx: &Context| Ok(format!("{} {}", command.0, cx.name()));
    let runtime = open(BoundedContext::new("hall").command(greeter));
    assert_eq!(runtime.send(Greet("hello")).await.unwrap(), "hello hall");
}

#[tokio::test]
async fn what_nothing_handles_is_refused_with_the_fix() {
    let runtime = open(BoundedContext::new("hall"));
    let error = runtime.send(Greet("hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "context `hall` has no handler for command `greet`: add `.command(…)`"
    );
    let error = runtime.query(HowMany).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "context `hall` has no handler for query `how-many`: add `.query(…)`"
    );
}

#[derive(Clone)]
struct Inspect;

impl Message for Inspect {
    const NAME: &'static str = "inspect";
}

impl Command for Inspect {
    type Reply = (Option<String>, TraceContext, bool);
}

async fn inspect(_: Inspect, cx: &Context) -> Result<(Option<String>, TraceContext, bool)> {
    let own_correlation = cx.correlation_id() == cx.message_id();
    Ok((cx.tenant().map(str::to_owned), cx.trace_context().clone(), own_correlation))
}

#[tokio::test]
async fn a_request_carries_tenant_trace_and_correlation_to_the_handler() {
    let runtime = open(BoundedContext::new("hall").command(inspect));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace: TraceContext = trace.parse().unwrap();
    let id = mamey_core::id::MessageId::from_foreign("browser", "1");
    let request = runtime.send(Inspect).tenant("acme").trace(trace.clone()).correlation_id(id);
    let (tenant, seen, own_correlation) = request.await.unwrap();
    assert_eq!((tenant.as_deref(), seen, own_correlation), (Some("acme"), trace, false));
    let (tenant, _, own_correlation) = runtime.send(Inspect).await.unwrap();
    assert_eq!((tenant, own_correlation), (None, true));
}

#[tokio::test]
async fn impossible_idempotency_keys_are_refused() {
    let runtime = open(BoundedContext::new("hall").command(greet));
    for bad in ["", "two\nlines", &"k".repeat(256)] {
        let error = runtime.send(Greet("hello")).idempotency_key(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    // A valid key is looked up in the store, which is not available.
    let error = runtime.send(Greet("hello")).idempotency_key("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn requests_can_be_sent_from_any_task() {
    fn send<T: Send>(_: T) {}
    let runtime = open(BoundedContext::new("hall").command(greet).query(how_many));
    send(IntoFuture::into_future(runtime.send(Greet("hello"))));
    send(IntoFuture::into_future(runtime.query(HowMany)));
}

#[tokio::test]
async fn a_closed_context_finishes_what_runs_and_accepts_nothing_new() {
    let runtime = open(BoundedContext::new("hall").command(greet).query(how_many));
    let mut running = IntoFuture::into_future(runtime.send(Greet("hello")));
    assert!((&mut running).now_or_never().is_none(), "it waits at its first await");
    runtime.close();
    assert_eq!(running.await.unwrap(), "hello from hall");
    let error = runtime.send(Greet("hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(runtime.query(HowMany).await.unwrap_err().kind(), ErrorKind::Cancelled);
}
