//! A handler is `async fn(Message, &Context) -> Result<Reply>`.

#![allow(unused_variables)]

use mamey_core::{Context, Result};
use mamey_macros::handler;

struct PlaceOrder;
struct Orders;

#[handler]
fn not_async(command: PlaceOrder, cx: &Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn no_context(command: PlaceOrder) -> Result<()> {
    Ok(())
}

#[handler]
async fn too_many(command: PlaceOrder, cx: &Context, more: u64) -> Result<()> {
    Ok(())
}

#[handler]
async fn owned_context(command: PlaceOrder, cx: Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn mutable_context(command: PlaceOrder, cx: &mut Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn static_context(command: PlaceOrder, cx: &'static Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn borrowed_message(command: &PlaceOrder, cx: &Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn any_message(command: impl Send, cx: &Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn over_types<T>(command: T, cx: &Context) -> Result<()> {
    Ok(())
}

#[handler]
async fn cannot_fail(command: PlaceOrder, cx: &Context) {}

#[handler]
async fn unit(command: PlaceOrder, cx: &Context) -> () {}

#[handler(command)]
async fn with_options(command: PlaceOrder, cx: &Context) -> Result<()> {
    Ok(())
}

impl Orders {
    #[handler]
    async fn place(&self, command: PlaceOrder, cx: &Context) -> Result<()> {
        Ok(())
    }
}

#[handler]
struct NotAFunction;

fn main() {}
