//! The receiver as a process of its own, which tests kill and pause. The environment names its store
//! and broker.
//!
//! On SIGTERM it prints how many duplicates it absorbed.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a program exports nothing")]
#![allow(clippy::print_stdout, reason = "its parent reads the output")]

mod domain;

use mamey::{Result, Service};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let service = Service::from_env()?.host(domain::receiver()).start().await?;
    service.wait_for_shutdown().await;
    let absorbed = service.totals().await?.duplicates_absorbed;
    service.shutdown().await?;
    println!("{absorbed}");
    Ok(())
}
