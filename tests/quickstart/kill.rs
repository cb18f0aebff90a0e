//! SIGKILL at random moments: the totals are those of an undisturbed run.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::program::{Quickstart, first_orders, quickstart};

/// How many kills must hit a running process.
const KILLS: u32 = 24;

/// More attempts than this mean that the moments are badly chosen.
const TRIES_MAX: u32 = 200;

/// How many of the shipped orders are placed: enough for a run to last about a second.
const ORDERS: usize = 300;

/// How many kills a folder gets before a run may finish: some get one, others a chain, also during
/// the recovery from the kill before.
const KILLS_PER_FOLDER: u32 = 4;

#[test]
fn a_kill_at_any_moment_changes_no_total() {
    let seed = std::env::var("MAMEY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("MAMEY_TEST_SEED={seed} chooses the same moments");
    let mut random = fastrand::Rng::with_seed(seed);

    let input = tempfile::tempdir().unwrap();
    let orders = first_orders(input.path(), ORDERS);
    let on = |folder: &Path| quickstart(folder).orders(&orders);

    let started = Instant::now();
    let undisturbed = on(tempfile::tempdir().unwrap().path()).totals();
    let whole_run = started.elapsed();

    let (mut kills, mut tries) = (0, 0);
    while kills < KILLS {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..KILLS_PER_FOLDER {
            tries += 1;
            kills += u32::from(kill_after(on(folder.path()), whole_run.mul_f64(random.f64())));
        }
        let totals = on(folder.path()).totals();
        assert_eq!(totals, undisturbed, "after {kills} kills, seed {seed}");
        assert!(tries < TRIES_MAX, "{kills} of {tries} kills hit a running process");
    }
}

/// Starts the quickstart and kills it after a while; false when it had already ended.
pub fn kill_after(quickstart: Quickstart, moment: Duration) -> bool {
    let mut process = quickstart.spawn();
    std::thread::sleep(moment);
    let running = process.try_wait().unwrap().is_none();
    // On Unix this is SIGKILL: no destructor and no signal handler runs.
    process.kill().unwrap();
    process.wait().unwrap();
    running
}
