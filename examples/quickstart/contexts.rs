//! Three bounded contexts that trade orders: orders, payments and catalog.
//!
//! Nothing here knows whether they share a process or a database: they talk in messages only.

use std::pin::pin;

use futures_util::TryStreamExt;
use mamey::{
    Aggregate, BoundedContext, Command, Context, Criteria, Error, Event, IndexValue, Query,
    ReadContext, Rejection, Result,
};
use serde::{Deserialize, Serialize};

/// Orders: takes them, and hears how each one ended.
pub mod orders {
    use super::*;
    use super::{catalog::OutOfStock, catalog::StockReserved, payments::PaymentRefused};

    #[derive(Clone, Command, Deserialize)]
    #[command(reply = OrderStatus)]
    pub struct PlaceOrder {
        pub order_id: String,
        pub customer: String,
        pub product: String,
        pub amount_cents: i64,
    }

    /// Counts the orders of one status, or all of them.
    #[derive(Query)]
    #[query(reply = u64)]
    pub struct CountOrders(pub Option<OrderStatus>);

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "orders.order-placed", key = order_id, must_route)]
    pub struct OrderPlaced {
        pub order_id: String,
        pub product: String,
        pub amount_cents: i64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IndexValue)]
    pub enum OrderStatus {
        Pending,
        Paid,
        Refused,
        OutOfStock,
    }

    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "orders")]
    pub struct Order {
        #[aggregate(id)]
        order_id: String,
        customer: String,
        #[aggregate(index)]
        status: OrderStatus,
    }

    #[derive(Debug, thiserror::Error, Rejection)]
    pub enum OrderError {
        #[error("an order costs at least one cent, not {0}")]
        #[rejection(code = "orders.free-of-charge")]
        FreeOfCharge(i64),
    }

    async fn place_order(command: PlaceOrder, cx: &Context) -> Result<OrderStatus> {
        let PlaceOrder { order_id, customer, product, amount_cents } = command;
        if amount_cents < 1 {
            return Err(OrderError::FreeOfCharge(amount_cents).into());
        }
        cx.publish(&OrderPlaced { order_id: order_id.clone(), product, amount_cents })?;
        let status = OrderStatus::Pending;
        cx.repository().add(&Order { order_id, customer, status })?;
        Ok(status)
    }

    async fn count_orders(query: CountOrders, cx: &ReadContext) -> Result<u64> {
        let wanted = query.0.map(|status| Order::STATUS.eq(status));
        cx.repository().count(wanted.unwrap_or_else(Criteria::all)).await
    }

    async fn on_stock_reserved(event: StockReserved, cx: &Context) -> Result<()> {
        end_order(event.order_id, OrderStatus::Paid, cx).await
    }

    async fn on_payment_refused(event: PaymentRefused, cx: &Context) -> Result<()> {
        end_order(event.order_id, OrderStatus::Refused, cx).await
    }

    async fn on_out_of_stock(event: OutOfStock, cx: &Context) -> Result<()> {
        end_order(event.order_id, OrderStatus::OutOfStock, cx).await
    }

    async fn end_order(order_id: String, status: OrderStatus, cx: &Context) -> Result<()> {
        let orders = cx.repository::<Order>();
        let mut order = orders.load(&order_id).await?;
        order.status = status;
        orders.save(&order)
    }

    pub fn context() -> BoundedContext {
        BoundedContext::new("orders")
            .aggregate::<Order>()
            .command(place_order)
            .query(count_orders)
            .on(on_stock_reserved)
            .on(on_payment_refused)
            .on(on_out_of_stock)
            .publishes::<OrderPlaced>()
    }
}

/// Payments: takes the money of an order, or refuses, and gives it back when there is no stock.
pub mod payments {
    use super::*;
    use super::{catalog::OutOfStock, orders::OrderPlaced};

    /// What one order may cost at most.
    const LIMIT_CENTS: i64 = 50_000;

    /// Keyed by product, so that the catalog handles the orders for one product in turn.
    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "payments.payment-taken", key = product, must_route)]
    pub struct PaymentTaken {
        pub order_id: String,
        pub product: String,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "payments.payment-refused", key = order_id, must_route)]
    pub struct PaymentRefused {
        pub order_id: String,
    }

    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "payments")]
    pub struct Payment {
        #[aggregate(id)]
        order_id: String,
        amount_cents: i64,
        refunded: bool,
    }

    async fn on_order_placed(event: OrderPlaced, cx: &Context) -> Result<()> {
        let OrderPlaced { order_id, product, amount_cents } = event;
        if amount_cents > LIMIT_CENTS {
            return cx.publish(&PaymentRefused { order_id });
        }
        cx.publish(&PaymentTaken { order_id: order_id.clone(), product })?;
        cx.repository().add(&Payment { order_id, amount_cents, refunded: false })
    }

    async fn on_out_of_stock(event: OutOfStock, cx: &Context) -> Result<()> {
        let payments = cx.repository::<Payment>();
        let mut payment = payments.load(&event.order_id).await?;
        payment.refunded = true;
        payments.save(&payment)
    }

    pub fn context() -> BoundedContext {
        BoundedContext::new("payments")
            .aggregate::<Payment>()
            .on(on_order_placed)
            .on(on_out_of_stock)
            .publishes::<PaymentTaken>()
            .publishes::<PaymentRefused>()
    }
}

/// Catalog: owns the stock, and reserves one unit for each paid order while there is any.
pub mod catalog {
    use super::payments::PaymentTaken;
    use super::*;

    #[derive(Clone, Command)]
    pub struct StockProduct {
        pub product: String,
        pub units: u32,
    }

    #[derive(Query)]
    #[query(reply = Stock)]
    pub struct CountStock;

    /// Units over all products.
    #[derive(Debug, Default)]
    pub struct Stock {
        pub delivered: u64,
        pub reserved: u64,
        pub left: u64,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "catalog.stock-reserved", key = order_id, must_route)]
    pub struct StockReserved {
        pub order_id: String,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "catalog.out-of-stock", key = order_id, must_route)]
    pub struct OutOfStock {
        pub order_id: String,
    }

    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "products")]
    pub struct Product {
        #[aggregate(id)]
        product: String,
        delivered: u32,
        left: u32,
    }

    /// One unit that was promised to one order.
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "reservations")]
    pub struct Reservation {
        #[aggregate(id)]
        order_id: String,
        #[aggregate(index)]
        product: String,
    }

    async fn stock_product(command: StockProduct, cx: &Context) -> Result<()> {
        let StockProduct { product, units } = command;
        cx.repository().add(&Product { product, delivered: units, left: units })
    }

    async fn on_payment_taken(event: PaymentTaken, cx: &Context) -> Result<()> {
        let PaymentTaken { order_id, product } = event;
        let products = cx.repository::<Product>();
        let Some(mut found) = products.get(&product).await? else {
            // Another process may sell before this one has its stock: tried again a little later.
            return Err(Error::unavailable(format!("`{product}` is yet to be delivered")));
        };
        if found.left == 0 {
            return cx.publish(&OutOfStock { order_id });
        }
        found.left -= 1;
        products.save(&found)?;
        cx.publish(&StockReserved { order_id: order_id.clone() })?;
        cx.repository().add(&Reservation { order_id, product })
    }

    async fn count_stock(_: CountStock, cx: &ReadContext) -> Result<Stock> {
        let mut stock = Stock::default();
        let mut products = pin!(cx.repository::<Product>().stream(Criteria::all()));
        while let Some(product) = products.try_next().await? {
            let reserved = Reservation::PRODUCT.eq(product.product.as_str());
            stock.delivered += u64::from(product.delivered);
            stock.left += u64::from(product.left);
            stock.reserved += cx.repository().count(reserved).await?;
        }
        Ok(stock)
    }

    pub fn context() -> BoundedContext {
        BoundedContext::new("catalog")
            .aggregate::<Product>()
            .aggregate::<Reservation>()
            .command(stock_product)
            .query(count_stock)
            .on(on_payment_taken)
            .publishes::<StockReserved>()
            .publishes::<OutOfStock>()
    }
}
