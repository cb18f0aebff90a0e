//! Reads orders as JSON lines, and places them.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use mamey::{Error, ErrorKind, Result, RunningService};

use crate::contexts::catalog::StockProduct;
use crate::contexts::orders::PlaceOrder;

/// How many commands run at a time.
const COMMANDS_IN_FLIGHT: usize = 64;

/// The stock of each product: fewer units than the shipped orders need of the popular ones.
const UNITS_PER_PRODUCT: u32 = 40;

/// The orders of a file, each with its line number.
pub struct OrderFile {
    orders: Vec<(u64, PlaceOrder)>,
    /// How many lines are not an order.
    pub bad_lines: u64,
}

impl OrderFile {
    /// Reads a file. A line that is not an order is reported by its number, counted and skipped.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|cause| {
            Error::invalid(format!("cannot read orders from {}: {cause}", path.display()))
        })?;
        let mut file = Self { orders: Vec::new(), bad_lines: 0 };
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(order) => file.orders.push((number, order)),
                Err(cause) => {
                    report_skipped(number, &cause);
                    file.bad_lines += 1;
                }
            }
        }
        Ok(file)
    }

    /// Delivers stock for every product. The idempotency key makes it happen once, also when the
    /// program is started again.
    pub async fn deliver_stock(&self, service: &RunningService) -> Result<()> {
        let products: BTreeSet<&str> =
            self.orders.iter().map(|(_, order)| order.product.as_str()).collect();
        let deliver = async |product: &str| {
            let command = StockProduct { product: product.to_owned(), units: UNITS_PER_PRODUCT };
            service.send(command).idempotency_key(product).await
        };
        stream::iter(products).map(deliver).buffer_unordered(COMMANDS_IN_FLIGHT).try_collect().await
    }

    /// Places every order, each once, and returns how many were rejected.
    pub async fn place_orders(&self, service: &RunningService) -> Result<u64> {
        let place = async |(number, order): &(u64, PlaceOrder)| {
            use ErrorKind::{IdempotencyKeyReused, Rejected};
            let key = order.order_id.clone();
            match service.send(order.clone()).idempotency_key(key).await {
                Ok(_) => Ok(0),
                // An order with the id of another one is refused, too.
                Err(error) if matches!(error.kind(), Rejected | IdempotencyKeyReused) => {
                    report_skipped(*number, &error);
                    Ok(1)
                }
                Err(error) => Err(error),
            }
        };
        stream::iter(&self.orders)
            .map(place)
            .buffer_unordered(COMMANDS_IN_FLIGHT)
            .try_fold(0, async |sum, rejected| Ok(sum + rejected))
            .await
    }
}

fn report_skipped(line: u64, cause: &dyn std::fmt::Display) {
    eprintln!("line {line} is skipped: {cause}");
}
