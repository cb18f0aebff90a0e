//! The totals at the end: a table for people, a line of JSON for programs.

use mamey::{Result, RunningService};
use serde::Serialize;

use crate::contexts::catalog::CountStock;
use crate::contexts::orders::{CountOrders, OrderStatus};

/// The totals of a folder over all its runs, but for what only a run can count.
#[derive(Serialize)]
pub struct Report {
    orders: u64,
    paid: u64,
    refused: u64,
    out_of_stock: u64,
    bad_lines: u64,
    /// Every delivered unit is either left or reserved for exactly one paid order.
    stock_balanced: bool,
    published: u64,
    handled: u64,
    /// In this run.
    duplicates_absorbed: u64,
    dead_letters: u64,
    #[serde(skip)]
    pending: u64,
}

impl Report {
    pub async fn of(service: &RunningService, bad_lines: u64, has_stock: bool) -> Result<Self> {
        let count = |status| service.query(CountOrders(Some(status))).into_future();
        let (paid, refused) = (count(OrderStatus::Paid).await?, count(OrderStatus::Refused).await?);
        let out_of_stock = count(OrderStatus::OutOfStock).await?;
        let pending = count(OrderStatus::Pending).await?;
        let stock_balanced = !has_stock || {
            let stock = service.query(CountStock).await?;
            stock.delivered == stock.left + stock.reserved && stock.reserved == paid
        };
        let totals = service.totals().await?;
        Ok(Self {
            orders: service.query(CountOrders(None)).await?,
            paid,
            refused,
            out_of_stock,
            bad_lines,
            stock_balanced,
            published: totals.published,
            handled: totals.handled,
            duplicates_absorbed: totals.duplicates_absorbed,
            dead_letters: totals.dead_letters,
            pending,
        })
    }

    pub fn print_table(&self) {
        println!("orders               {:>8}", self.orders);
        println!("  paid               {:>8}", self.paid);
        println!("  refused            {:>8}", self.refused);
        println!("  out of stock       {:>8}", self.out_of_stock);
        if self.pending > 0 {
            println!("  pending            {:>8}  (their events wait in the outbox)", self.pending);
        }
        println!("lines left out       {:>8}", self.bad_lines);
        println!("stock balanced       {:>8}", if self.stock_balanced { "yes" } else { "NO" });
        println!("messages published   {:>8}", self.published);
        println!("messages handled     {:>8}", self.handled);
        println!("duplicates absorbed  {:>8}  (in this run)", self.duplicates_absorbed);
        println!("dead letters         {:>8}", self.dead_letters);
    }

    pub fn print_json(&self) {
        match serde_json::to_string(self) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("error: {error}"),
        }
    }
}
