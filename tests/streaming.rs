//! A stream reads a large collection in constant memory: many documents, and large ones.
#![cfg(all(feature = "postgres", feature = "sqlite", target_os = "linux"))]
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

/// Large documents, all of which are within the number of one page.
const LARGE: i64 = 40;
const LARGE_BYTES: usize = 2 * 1024 * 1024;

/// By how many MiB the process may grow: a page of 16 MiB as it comes, as documents and as aggregates,
/// and what is read ahead.
const LARGE_GROWTH_MIB_MAX: u64 = 96;

async fn a_stream_holds_a_bounded_number_of_bytes(url: &str) {
    let garden = BoundedContext::new("garden").aggregate::<Leaf>();
    let service = Service::new(Settings::default()).store_url(url).host(garden);
    let service = service.start().await.unwrap();
    let garden = service.context("garden").unwrap();
    for number in 0..LARGE {
        let cx = garden.unit_of_work(Cause::default());
        let filling = "x".repeat(LARGE_BYTES);
        cx.repository().add(&Leaf { number, filling }).unwrap();
        garden.store().commit(cx.take_unit().unwrap()).await.unwrap();
    }
    let cx = garden.unit_of_work(Cause::default());
    let leaves = cx.repository::<Leaf>();
    let (before, mut read, mut growth) = (resident_mib(), 0, 0);
    let mut stream = std::pin::pin!(leaves.stream(Criteria::all().sort_by(Leaf::ID.desc())));
    while let Some(leaf) = stream.try_next().await.unwrap() {
        read += 1;
        assert_eq!((leaf.number, leaf.filling.len()), (LARGE - read, LARGE_BYTES));
        growth = growth.max(resident_mib().saturating_sub(before));
    }
    assert_eq!(read, LARGE);
    assert!(growth <= LARGE_GROWTH_MIB_MAX, "it grew by {growth} MiB");
    service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_large_documents_is_bounded_on_postgres() {
    let database = require!(postgres::database().await);
    a_stream_holds_a_bounded_number_of_bytes(database.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_large_documents_is_bounded_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("garden.db").display());
    a_stream_holds_a_bounded_number_of_bytes(&url).await;
}
