//! The user's layers: their order, what they see, and what they may do.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mamey_core::{Command, Context, Error, ErrorKind, Message, Result};
use mamey_cqrs::{BoundedContext, Invocation, InvocationKind, Layer, Next};

use crate::no_store::open;

#[derive(Clone)]
struct Ping;

impl Message for Ping {
    const NAME: &'static str = "ping";

    fn validate(&self) -> Result<()> {
        Err(Error::invalid("pings are never valid"))
    }
}

impl Command for Ping {
    type Reply = ();
}

#[derive(Clone)]
struct Echo(&'static str);

impl Message for Echo {
    const NAME: &'static str = "echo";
}

impl Command for Echo {
    type Reply = &'static str;
}

async fn ping(_: Ping, _: &Context) -> Result<()> {
    Ok(())
}

async fn echo(command: Echo, _: &Context) -> Result<&'static str> {
    Ok(command.0)
}

type Log = Arc<Mutex<Vec<String>>>;

struct Noting(&'static str, Log);

#[async_trait]
impl Layer for Noting {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        let note = |text: String| self.1.lock().unwrap().push(format!("{}: {text}", self.0));
        note(format!("{} {} of {}", invocation.kind, invocation.name, invocation.context));
        let result = next.run(invocation).await;
        note(if result.is_ok() { "ok".to_owned() } else { "failed".to_owned() });
        result
    }
}

#[tokio::test]
async fn layers_run_in_the_order_of_registration_and_the_reply_comes_through() {
    let log = Log::default();
    let context = BoundedContext::new("hall")
        .command(echo)
        .layer(Noting("outer", Arc::clone(&log)))
        .layer(Arc::new(Noting("inner", Arc::clone(&log))));
    assert_eq!(open(context).send(Echo("hello")).await.unwrap(), "hello");
    let expected =
        ["outer: command echo of hall", "inner: command echo of hall", "inner: ok", "outer: ok"];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test]
async fn validation_happens_inside_the_layers() {
    let log = Log::default();
    let layer = Noting("layer", Arc::clone(&log));
    let context = BoundedContext::new("hall").command(ping).layer(layer);
    assert_eq!(open(context).send(Ping).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(log.lock().unwrap().last().unwrap(), "layer: failed");
}

struct Gate;

#[async_trait]
impl Layer for Gate {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        if invocation.kind == InvocationKind::Command && invocation.cause.tenant.is_none() {
            return Err(Error::invalid("a tenant is required"));
        }
        next.run(invocation).await
    }
}

#[tokio::test]
async fn a_layer_can_refuse_a_call() {
    let runtime = open(BoundedContext::new("hall").command(echo).layer(Gate));
    let error = runtime.send(Echo("hello")).await.unwrap_err();
    assert_eq!(error.message(), "a tenant is required");
    assert_eq!(runtime.send(Echo("hello")).tenant("acme").await.unwrap(), "hello");
}

struct Swallow;

#[async_trait]
impl Layer for Swallow {
    async fn call(&self, _: &Invocation<'_>, _: Next<'_>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_layer_that_swallows_a_call_is_an_error() {
    let runtime = open(BoundedContext::new("hall").command(echo).layer(Swallow));
    let error = runtime.send(Echo("hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.message().contains("run `next`"), "{error}");
}

struct Explode;

#[async_trait]
impl Layer for Explode {
    async fn call(&self, _: &Invocation<'_>, _: Next<'_>) -> Result<()> {
        panic!("a layer's own bug")
    }
}

#[tokio::test]
async fn a_panic_of_a_layer_is_an_error_too() {
    let runtime = open(BoundedContext::new("hall").command(echo).layer(Explode));
    let error = runtime.send(Echo("hello")).await.unwrap_err();
    assert!(error.to_string().contains("a layer's own bug"), "{error}");
}
