//! A context that publishes orders, and stores the invoices that come back.

use mamey::{Aggregate, BoundedContext, Command, Context, Event, Query, ReadContext, Result};
use serde::{Deserialize, Serialize};

#[derive(Clone, Command)]
pub(crate) struct PlaceOrder {
    pub(crate) order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", key = order_id)]
struct OrderPlaced {
    order_id: String,
}

/// The other service's invoice of an order.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "billing.invoiced", key = order_id)]
struct Invoiced {
    order_id: String,
    number: String,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "invoices")]
struct Invoice {
    #[aggregate(id)]
    order_id: String,
    number: String,
}

#[derive(Query)]
#[query(reply = Option<String>)]
pub(crate) struct InvoiceOf(pub(crate) String);

async fn place_order(command: PlaceOrder, cx: &Context) -> Result<()> {
    cx.publish(&OrderPlaced { order_id: command.order_id })
}

async fn on_invoiced(event: Invoiced, cx: &Context) -> Result<()> {
    let Invoiced { order_id, number } = event;
    cx.repository().add(&Invoice { order_id, number })
}

async fn invoice_of(query: InvoiceOf, cx: &ReadContext) -> Result<Option<String>> {
    let invoice = cx.repository::<Invoice>().get(&query.0).await?;
    Ok(invoice.map(|invoice| invoice.number.clone()))
}

pub(crate) fn context() -> BoundedContext {
    BoundedContext::new("orders")
        .aggregate::<Invoice>()
        .command(place_order)
        .query(invoice_of)
        .on(on_invoiced)
        .publishes::<OrderPlaced>()
}
