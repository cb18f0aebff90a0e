//! The totals at the end: a table for people, a line of JSON for programs.

use mamey::{Result, RunningService};
use serde::Serialize;

use crate::Hosted;
use crate::contexts::catalog::{CountStock, Stock};
use crate::contexts::orders::{CountOrders, OrderStatus};

/// The totals of the hosted contexts over all runs, except what only one run can count. The totals
/// of contexts in several processes add up to those of one process that hosts them all.
#[derive(Default, Serialize)]
pub struct Report {
    orders: u64,
    paid: u64,
    refused: u64,
    out_of_stock: u64,
    bad_lines: u64,
    /// Units that are reserved for one order each.
    reserved: u64,
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
    pub async fn of(service: &RunningService, bad_lines: u64, hosted: &[Hosted]) -> Result<Self> {
        let totals = service.totals().await?;
        let mut report = Self {
            bad_lines,
            stock_balanced: true,
            published: totals.published,
            handled: totals.handled,
            duplicates_absorbed: totals.duplicates_absorbed,
            dead_letters: totals.dead_letters,
            ..Self::default()
        };
        let (orders, catalog) = (Hosted::Orders, Hosted::Catalog);
        if hosted.contains(&orders) {
            report.count_orders(service).await?;
        }
        if hosted.contains(&catalog) {
            let Stock { delivered, reserved, left } = service.query(CountStock).await?;
            let paid = if hosted.contains(&orders) { report.paid } else { reserved };
            report.reserved = reserved;
            report.stock_balanced = delivered == left + reserved && reserved == paid;
        }
        Ok(report)
    }

    async fn count_orders(&mut self, service: &RunningService) -> Result<()> {
        let count = |status| service.query(CountOrders(status)).into_future();
        self.orders = count(None).await?;
        self.paid = count(Some(OrderStatus::Paid)).await?;
        self.refused = count(Some(OrderStatus::Refused)).await?;
        self.out_of_stock = count(Some(OrderStatus::OutOfStock)).await?;
        self.pending = count(Some(OrderStatus::Pending)).await?;
        Ok(())
    }

    pub fn print_table(&self) {
        println!("orders               {:>8}", self.orders);
        println!("  paid               {:>8}", self.paid);
        println!("  refused            {:>8}", self.refused);
        println!("  out of stock       {:>8}", self.out_of_stock);
        if self.pending > 0 {
            println!("  pending            {:>8}  (their events wait in the outbox)", self.pending);
        }
        println!("lines skipped        {:>8}", self.bad_lines);
        println!("units reserved       {:>8}", self.reserved);
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
