//! The quickstart on PostgreSQL: the same totals, alone, killed, and as two instances side by side.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mamey_test_support::{postgres, require};

use crate::kill::kill_after;
use crate::program::{Quickstart, Totals, first_orders, quickstart};

const ORDERS: usize = 300;

/// How many kills a database gets before a run may finish.
const KILLS: u32 = 6;

/// A short lease, so that the partitions of a killed instance are soon free.
const LEASE_MS: &str = "2000";

/// The orders to place, and their totals on the embedded store.
struct Input {
    orders: PathBuf,
    expected: Totals,
    folder: tempfile::TempDir,
}

impl Input {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let orders = first_orders(folder.path(), ORDERS);
        let expected = quickstart(folder.path()).orders(&orders).totals();
        Self { orders, expected, folder }
    }

    fn on(&self, database: &postgres::Database) -> Quickstart {
        self.at(database.url())
    }

    fn at(&self, url: &str) -> Quickstart {
        let folder: &Path = self.folder.path();
        let quickstart = quickstart(folder).orders(&self.orders);
        quickstart.environment("MAMEY_STORE", url).environment("MAMEY_LEASE_MS", LEASE_MS)
    }
}

#[tokio::test]
async fn the_totals_are_those_of_the_embedded_store() {
    let database = require!(postgres::database().await);
    let input = Input::new();
    assert_eq!(input.on(&database).totals(), input.expected);
    assert_eq!(input.on(&database).totals(), input.expected, "a second run changes nothing");
}

#[tokio::test]
async fn kills_change_no_total() {
    let database = require!(postgres::database().await);
    let input = Input::new();
    let started = Instant::now();
    input.on(&require!(postgres::database().await)).totals();
    let whole_run = started.elapsed();
    let kills = (1..=KILLS)
        .map(|kill| kill_after(input.on(&database), whole_run * kill / (KILLS + 1)))
        .filter(|hit| *hit)
        .count();
    assert!(kills > 0, "no kill hit a running process");
    assert_eq!(input.on(&database).totals(), input.expected, "after {kills} kills");
}

#[tokio::test]
async fn two_instances_share_the_work() {
    let database = require!(postgres::database().await);
    let input = Input::new();
    let both = [input.on(&database), input.on(&database)].map(|it| std::thread::spawn(|| it.run()));
    for instance in both {
        let run = instance.join().unwrap();
        assert_eq!(Totals::of(&run), input.expected);
    }
}

#[tokio::test]
async fn an_instance_continues_when_the_other_is_killed() {
    let database = require!(postgres::database().await);
    let input = Input::new();
    let (victim, survivor) = (input.on(&database), input.on(&database));
    let survivor = std::thread::spawn(|| survivor.run());
    kill_after(victim, Duration::from_millis(400));
    assert_eq!(Totals::of(&survivor.join().unwrap()), input.expected);
}
