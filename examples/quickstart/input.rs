//! Reads orders as JSON lines, and places them.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use mamey::{Error, Result, RunningService};

use crate::contexts::catalog::StockProduct;
use crate::contexts::orders::PlaceOrder;

/// How many commands are under way at a time.
const COMMANDS_IN_FLIGHT: usize = 64;

/// What each product starts with: fewer than the shipped orders ask of the popular ones.
const UNITS_PER_PRODUCT: u32 = 40;

/// The orders of one file, and how many lines could not be read.
pub struct OrderFile {
    pub orders: Vec<PlaceOrder>,
    pub bad_lines: u64,
}

impl OrderFile {
    /// Reads a file. A line that is no order is named by its number and counted.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|cause| {
            Error::invalid(format!("cannot read orders from {}: {cause}", path.display()))
        })?;
        let mut file = Self { orders: Vec::new(), bad_lines: 0 };
        let mut seen = BTreeSet::new();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<PlaceOrder>(line) {
                Ok(order) if seen.insert(order.order_id.clone()) => file.orders.push(order),
                Ok(order) => file.refuse(number, format!("order `{}` is there twice", order.order_id)),
                Err(cause) => file.refuse(number, cause.to_string()),
            }
        }
        Ok(file)
    }

    fn refuse(&mut self, number: u64, cause: String) {
        eprintln!("line {number} is left out: {cause}");
        self.bad_lines += 1;
    }

    /// Delivers stock for every product once, however often it is called.
    pub async fn deliver_stock(&self, service: &RunningService) -> Result<()> {
        let products: BTreeSet<&str> = self.orders.iter().map(|order| order.product.as_str()).collect();
        let deliver = |product: &str| {
            let command = StockProduct { product: product.to_owned(), units: UNITS_PER_PRODUCT };
            service.send(command).idempotency_key(product).into_future()
        };
        let deliveries = products.into_iter().map(deliver);
        stream::iter(deliveries).buffer_unordered(COMMANDS_IN_FLIGHT).try_collect().await
    }

    /// Places every order once, however often it is called.
    pub async fn place_orders(&self, service: &RunningService) -> Result<()> {
        let place = |order: &PlaceOrder| {
            let key = order.order_id.clone();
            service.send(order.clone()).idempotency_key(key).into_future()
        };
        let placed = self.orders.iter().map(place);
        stream::iter(placed).buffer_unordered(COMMANDS_IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await
    }
}
