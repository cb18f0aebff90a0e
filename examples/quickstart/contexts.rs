//! Three bounded contexts that trade orders: orders, payments and catalog.
//!
//! They communicate by messages only, so this file is the same whether they share a process and a
//! database or not. The way of one order:
//!
//! ```text
//! PlaceOrder ─▶ orders ── OrderPlaced ─▶ payments ── PaymentTaken ─▶ catalog
//!                 ▲                        │    ▲                       │
//!                 ├──── PaymentRefused ────┘    └───── OutOfStock ──────┤
//!                 └─────────────── StockReserved, OutOfStock ───────────┘
//! ```

use std::pin::pin;

use futures_util::TryStreamExt;
use mamey::{
    Aggregate, BoundedContext, Command, Context, Criteria, Error, Event, IndexValue, Query,
    ReadContext, Rejection, Result,
};
use serde::{Deserialize, Serialize};

/// Orders: accepts them, and learns how each one ended.
pub mod orders {
    use super::*;
    use super::{catalog::OutOfStock, catalog::StockReserved, payments::PaymentRefused};

    /// What a customer sends. Its handler replies with the order's first status.
    #[derive(Clone, Command, Serialize, Deserialize)]
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

    /// An order waits for its payment. `must_route`: publishing it without a subscriber is an error.
    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "orders.order-placed", key = order_id, must_route)]
    pub struct OrderPlaced {
        pub order_id: String,
        pub product: String,
        pub amount_cents: i64,
    }

    /// How an order stands. An `IndexValue`, so that orders can be found by it: under the name that
    /// serde writes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IndexValue)]
    pub enum OrderStatus {
        Pending,
        Paid,
        Refused,
        OutOfStock,
    }

    /// What this context stores of an order.
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "orders")]
    pub struct Order {
        #[aggregate(id)]
        order_id: String,
        customer: String,
        #[aggregate(index)]
        status: OrderStatus,
    }

    /// Why an order is not accepted. The code is for programs, the text for people.
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
        // Both are buffered: the event and the order commit together after this returns `Ok`.
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

    /// Lists what this context stores, handles and publishes.
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

/// Payments: takes an order's money or refuses it, and refunds it when there is no stock.
pub mod payments {
    use super::*;
    use super::{catalog::OutOfStock, orders::OrderPlaced};

    /// The most that one order may cost.
    const LIMIT_CENTS: i64 = 50_000;

    /// An order is paid. Keyed by product: the catalog handles the orders of one product one by one.
    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "payments.payment-taken", key = product, must_route)]
    pub struct PaymentTaken {
        pub order_id: String,
        pub product: String,
    }

    /// An order costs more than the limit.
    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "payments.payment-refused", key = order_id, must_route)]
    pub struct PaymentRefused {
        pub order_id: String,
    }

    /// The payment of one order.
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

    /// Lists what this context stores, handles and publishes.
    pub fn context() -> BoundedContext {
        BoundedContext::new("payments")
            .aggregate::<Payment>()
            .on(on_order_placed)
            .on(on_out_of_stock)
            .publishes::<PaymentTaken>()
            .publishes::<PaymentRefused>()
    }
}

/// Catalog: owns the stock, and reserves one unit for each paid order while stock lasts.
pub mod catalog {
    use super::payments::PaymentTaken;
    use super::*;

    /// Delivers units of a product. Without a `reply`, its handler returns `()`.
    #[derive(Clone, Command, Serialize)]
    pub struct StockProduct {
        pub product: String,
        pub units: u32,
    }

    /// Counts the units of all products.
    #[derive(Query)]
    #[query(reply = Stock)]
    pub struct CountStock;

    /// Units of all products together.
    #[derive(Debug, Default)]
    pub struct Stock {
        pub delivered: u64,
        pub reserved: u64,
        pub left: u64,
    }

    /// A unit is reserved for an order.
    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "catalog.stock-reserved", key = order_id, must_route)]
    pub struct StockReserved {
        pub order_id: String,
    }

    /// There is no unit left for an order. Two contexts handle it.
    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "catalog.out-of-stock", key = order_id, must_route)]
    pub struct OutOfStock {
        pub order_id: String,
    }

    /// The stock of one product.
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "products")]
    pub struct Product {
        #[aggregate(id)]
        product: String,
        delivered: u32,
        left: u32,
    }

    /// One unit that is reserved for one order.
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
            // Another process may sell before this one has stock. The error says to retry later.
            return Err(Error::unavailable(format!("`{product}` has not been delivered yet")));
        };
        if found.left == 0 {
            return cx.publish(&OutOfStock { order_id });
        }
        // Two handlers that read the same stock cannot both save it: the second one runs again.
        found.left -= 1;
        products.save(&found)?;
        cx.publish(&StockReserved { order_id: order_id.clone() })?;
        cx.repository().add(&Reservation { order_id, product })
    }

    async fn count_stock(_: CountStock, cx: &ReadContext) -> Result<Stock> {
        let mut stock = Stock::default();
        // A stream reads page by page, however many products there are.
        let mut products = pin!(cx.repository::<Product>().stream(Criteria::all()));
        while let Some(product) = products.try_next().await? {
            let reserved = Reservation::PRODUCT.eq(product.product.as_str());
            stock.delivered += u64::from(product.delivered);
            stock.left += u64::from(product.left);
            stock.reserved += cx.repository().count(reserved).await?;
        }
        Ok(stock)
    }

    /// Lists what this context stores, handles and publishes.
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
