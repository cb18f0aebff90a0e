//! A stream reads a large collection on PostgreSQL in constant memory.
#![cfg(all(feature = "postgres", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::TryStreamExt;
use mamey::context::Cause;
use mamey::{Aggregate, BoundedContext, Criteria, Service, Settings};
use mamey_test_support::{Session, postgres, require};
use serde::{Deserialize, Serialize};

/// Added through the repository in one unit, the most that a unit may write.
const ADDED: i64 = 1000;

/// How many copies of those there are: the collection holds this many thousand documents.
const COPIES: i64 = 100;

/// Each document is about 1 KiB; all of them together far exceed the limit.
const FILLING: usize = 1000;

/// By how many MiB the process may grow: a few pages, and what the allocator keeps.
const GROWTH_MIB_MAX: u64 = 24;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "leaves")]
struct Leaf {
    #[aggregate(id)]
    number: i64,
    filling: String,
}

/// The process's resident memory in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_reads_any_number_of_documents_in_constant_memory() {
    let database = require!(postgres::database().await);
    let garden = BoundedContext::new("garden").aggregate::<Leaf>();
    let service = Service::new(Settings::default()).store_url(database.url()).host(garden);
    let service = service.start().await.unwrap();
    let garden = service.context("garden").unwrap();
    let cx = garden.unit_of_work(Cause::default());
    let leaves = cx.repository::<Leaf>();
    for number in 0..ADDED {
        leaves.add(&Leaf { number, filling: "x".repeat(FILLING) }).unwrap();
    }
    garden.store().commit(cx.take_unit().unwrap()).await.unwrap();

    let copy = format!(
        "INSERT INTO garden.leaves (id, version, layout, data)
         SELECT id + {ADDED} * n, 1, layout,
             jsonb_set(data::jsonb, '{{number}}', to_jsonb(id + {ADDED} * n))::json
         FROM garden.leaves, generate_series(1, {COPIES} - 1) AS n"
    );
    Session::of(database.url()).await.run(&copy).await;

    let in_order = || Criteria::all().sort_by(Leaf::ID.asc()).limit(500);
    // The first page lets the buffers grow to their size.
    let first: Vec<_> = leaves.find(in_order()).await.unwrap().items;
    assert_eq!(first.len(), 500);
    let before = resident_mib();
    let mut read = 0;
    let mut stream = std::pin::pin!(leaves.stream(in_order()));
    while let Some(leaf) = stream.try_next().await.unwrap() {
        assert_eq!(leaf.number, read);
        read += 1;
    }
    assert_eq!(read, ADDED * COPIES);
    let growth = resident_mib().saturating_sub(before);
    assert!(growth <= GROWTH_MIB_MAX, "it grew by {growth} MiB over {read} documents");
    service.shutdown().await.unwrap();
}
