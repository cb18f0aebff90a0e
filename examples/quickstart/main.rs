//! Three contexts trade a thousand orders in one process, on the embedded store, with no server.
//!
//! Read `contexts.rs` first: it declares the contexts. This file hosts them, places the orders and
//! waits for the end. Kill it at any moment and start it again: no order is lost or paid twice.
//!
//! With the features `postgres` and `rabbitmq` the same program is three services, with as many
//! instances of each as you like: set `MAMEY_STORE` and `MAMEY_TRANSPORT`, and start it with
//! `--context orders`, `--context payments` and `--context catalog`.
//!
//! `cargo run --example quickstart -- --help` lists its options.

#![allow(missing_docs, unreachable_pub, reason = "an example has no API")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints for a person")]
#![allow(clippy::large_futures, reason = "main runs once")]

mod contexts;
mod input;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use contexts::orders::{CountOrders, OrderStatus};
use contexts::{catalog, orders, payments};
use indicatif::{ProgressBar, ProgressStyle};
use input::OrderFile;
use mamey::{BoundedContext, Error, Result, RunningService, Service};
use report::Report;

/// How often the progress is updated.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Trades orders between three bounded contexts: orders, payments and catalog.
///
/// Stop it at any moment, with SIGKILL too, and start it again with the same folder: it continues
/// where it was.
#[derive(Parser)]
struct Arguments {
    /// The orders to place, one JSON object per line.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/orders.jsonl"))]
    orders: PathBuf,

    /// The folder that holds the database [default: a new one for each run].
    #[arg(long)]
    data: Option<PathBuf>,

    /// Hosts one context only; the others run in other processes, over a real transport. Orders
    /// ends when all orders have ended, the others end on Ctrl-C or SIGTERM.
    #[arg(long)]
    context: Option<Hosted>,

    /// Also prints the totals as one line of JSON at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Hosted {
    Orders,
    Payments,
    Catalog,
}

impl Hosted {
    fn declare(self) -> BoundedContext {
        match self {
            Self::Orders => orders::context(),
            Self::Payments => payments::context(),
            Self::Catalog => catalog::context(),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let file = OrderFile::read(&arguments.orders)?;
    let temporary;
    let folder = match &arguments.data {
        Some(folder) => folder.as_path(),
        None => {
            temporary = tempfile::tempdir().map_err(Error::other)?;
            temporary.path()
        }
    };
    let hosted = match arguments.context {
        Some(one) => vec![one],
        None => vec![Hosted::Orders, Hosted::Payments, Hosted::Catalog],
    };
    let service = start(folder, &hosted).await?;
    let outcome = trade(&service, &file, &hosted, arguments.json).await;
    service.shutdown().await?;
    outcome
}

/// The environment names store and transport; without it the store is a SQLite file in the folder.
async fn start(folder: &std::path::Path, hosted: &[Hosted]) -> Result<RunningService> {
    let mut service = Service::from_env()?;
    if std::env::var_os("MAMEY_STORE").is_none() {
        service = service.store_url(format!("sqlite:{}", folder.join("quickstart.db").display()));
    }
    for context in hosted {
        service = service.host(context.declare());
    }
    service.start().await
}

async fn trade(
    service: &RunningService,
    file: &OrderFile,
    hosted: &[Hosted],
    json: bool,
) -> Result<()> {
    if hosted.contains(&Hosted::Catalog) {
        file.deliver_stock(service).await?;
    }
    let mut bad_lines = file.bad_lines;
    if hosted.contains(&Hosted::Orders) {
        bad_lines += file.place_orders(service).await?;
        // Alone on the in-process transport, orders has no subscribers: its events wait in the outbox.
        if hosted.len() == 3 || service.reaches_other_processes() {
            wait_until_all_ended(service).await?;
        }
    } else {
        service.wait_for_shutdown().await;
    }
    let report = Report::of(service, bad_lines, hosted).await?;
    report.print_table();
    if json {
        report.print_json();
    }
    Ok(())
}

async fn wait_until_all_ended(service: &RunningService) -> Result<()> {
    let orders = service.query(CountOrders(None)).await?;
    let bar = ProgressBar::new(orders).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} orders ended, {elapsed}")
            .map_err(Error::other)?,
    );
    loop {
        let pending = service.query(CountOrders(Some(OrderStatus::Pending))).await?;
        bar.set_position(orders.saturating_sub(pending));
        if pending == 0 {
            bar.finish_and_clear();
            return service.wait_until_idle().await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = service.wait_for_shutdown() => return Err(Error::cancelled(
                "stopped before all orders had ended; start again with the same --data folder",
            )),
        }
    }
}
