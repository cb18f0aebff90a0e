//! Two contexts: a catalog with prices and stock, and orders, which send requests to it.

use std::time::Duration;

use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, Event, Query, ReadContext, Rejection,
    Result, RetryPolicy,
};
use serde::{Deserialize, Serialize};

/// What one piece costs.
#[derive(Query, Serialize, Deserialize)]
#[query(name = "catalog.get-price", reply = Price)]
pub struct GetPrice {
    pub sku: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    pub cents: i64,
    /// The requester's correlation id, as the catalog sees it.
    pub correlation: String,
    pub trace: String,
    pub tenant: Option<String>,
}

/// Takes pieces out of the stock, and replies with how many were taken so far.
#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "catalog.reserve", reply = u32)]
pub struct Reserve {
    pub sku: String,
    pub pieces: u32,
}

/// Fails in the way that the caller names.
#[derive(Query, Serialize, Deserialize)]
#[query(name = "catalog.fail")]
pub struct Fail(pub String);

/// The catalog handles it, but does not serve it.
#[derive(Query, Serialize, Deserialize)]
#[query(name = "catalog.secret")]
pub struct Secret;

/// [`GetPrice`] as an old caller knows it, with another reply type.
pub mod old {
    use super::*;

    #[derive(Query, Serialize, Deserialize)]
    #[query(name = "catalog.get-price", reply = String)]
    pub struct GetPrice {
        pub sku: String,
    }

    #[derive(Query, Serialize, Deserialize)]
    #[query(name = "catalog.get-price", reply = String)]
    pub struct Unfit {
        pub item: u32,
    }
}

#[derive(Debug, thiserror::Error, Rejection)]
#[error("no `{0}` is left")]
#[rejection(code = "catalog.sold-out")]
pub struct SoldOut(pub String);

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "stock")]
pub struct Stock {
    #[aggregate(id)]
    sku: String,
    taken: u32,
}

/// Orders one piece at the catalog's price.
#[derive(Clone, Command)]
#[command(reply = i64)]
pub struct Order {
    pub sku: String,
}

/// What an order of one piece would cost.
#[derive(Query)]
#[query(reply = i64)]
pub struct Quote {
    pub sku: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.ordered", key = sku)]
pub struct Ordered {
    pub sku: String,
}

pub fn catalog() -> BoundedContext {
    BoundedContext::new("catalog")
        .aggregate::<Stock>()
        .query(get_price)
        .query(fail)
        .query(secret)
        .command(reserve)
        .serves::<GetPrice>()
        .serves::<Fail>()
        .serves::<Reserve>()
        .on(on_ordered)
        .timeout(Duration::from_secs(2))
        .retry(quick_retries())
}

pub fn orders() -> BoundedContext {
    BoundedContext::new("orders").command(order).query(quote).publishes::<Ordered>()
}

/// Sends a request to the catalog for every order, from an event's handler.
pub fn audit() -> BoundedContext {
    BoundedContext::new("audit").on(audit_ordered).retry(quick_retries())
}

fn quick_retries() -> RetryPolicy {
    let mut policy = RetryPolicy::default().with_immediate(1).with_delayed(3);
    policy.backoff.first = Duration::from_millis(20);
    policy.backoff.max = Duration::from_millis(100);
    policy
}

async fn get_price(query: GetPrice, cx: &ReadContext) -> Result<Price> {
    if query.sku == "nothing" {
        return Err(SoldOut(query.sku).into());
    }
    Ok(Price {
        cents: 420,
        correlation: cx.correlation_id().to_string(),
        trace: format!("{:032x}", cx.trace_context().trace_id()),
        tenant: cx.tenant().map(str::to_owned),
    })
}

async fn fail(query: Fail, _: &ReadContext) -> Result<()> {
    match query.0.as_str() {
        "panic" => panic!("on purpose"),
        "hang" => std::future::pending().await,
        "unavailable" => Err(Error::unavailable("the store is down")),
        "conflict" => Err(Error::conflict("another write was faster")),
        "invalid" => Err(Error::invalid("sku: is missing")),
        _ => Ok(()),
    }
}

async fn secret(_: Secret, _: &ReadContext) -> Result<()> {
    Ok(())
}

async fn reserve(command: Reserve, cx: &Context) -> Result<u32> {
    let stocks = cx.repository::<Stock>();
    match stocks.get(&command.sku).await? {
        Some(mut stock) => {
            stock.taken += command.pieces;
            stocks.save(&stock)?;
            Ok(stock.taken)
        }
        None => {
            stocks.add(&Stock { sku: command.sku, taken: command.pieces })?;
            Ok(command.pieces)
        }
    }
}

async fn on_ordered(event: Ordered, cx: &Context) -> Result<()> {
    reserve(Reserve { sku: event.sku, pieces: 1 }, cx).await.map(drop)
}

async fn order(command: Order, cx: &Context) -> Result<i64> {
    let price = cx.request(GetPrice { sku: command.sku.clone() }).to("catalog").await?;
    assert_eq!(price.correlation, cx.correlation_id().to_string());
    assert_eq!(price.trace, format!("{:032x}", cx.trace_context().trace_id()));
    cx.publish(&Ordered { sku: command.sku })?;
    Ok(price.cents)
}

async fn quote(query: Quote, cx: &ReadContext) -> Result<i64> {
    let price = cx.request(GetPrice { sku: query.sku }).to("catalog").await?;
    Ok(price.cents)
}

async fn audit_ordered(event: Ordered, cx: &Context) -> Result<()> {
    let reserve = Reserve { sku: format!("audited-{}", event.sku), pieces: 1 };
    let key = cx.message_id().to_string();
    // Twice, as after a timeout: with the key it takes effect once.
    cx.request(reserve.clone()).to("catalog").idempotency_key(&*key).await?;
    cx.request(reserve).to("catalog").idempotency_key(key).await.map(drop)
}
