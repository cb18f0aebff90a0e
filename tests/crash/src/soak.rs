//! The soak: steady work for minutes, watched for memory, descriptors and a backlog that grow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};
use crate::fleet::{Fleet, Orders};
use crate::idle::{depths, until_idle};
use crate::load;
use crate::plan::Planner;
use crate::rounds::Run;
use crate::sample::Sample;
use crate::svg;

/// How often the processes are looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// By how much the median memory of the last quarter may exceed that of the second. The first quarter
/// is for warming up: pools, caches and the allocator grow to their size.
const RSS_GROWTH_KIB_MAX: u64 = 16 * 1024;

/// And by how many percent; memory has grown when it exceeds both.
const RSS_GROWTH_PERCENT_MAX: u64 = 15;

/// By how many the median descriptors of the last quarter may exceed those of the second.
const DESCRIPTORS_GROWTH_MAX: u64 = 16;

/// The last line of a soak.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    seconds: u64,
    messages: u64,
    rss_kib_before: u64,
    rss_kib_after: u64,
    descriptors_before: u64,
    descriptors_after: u64,
    outbox_max: u64,
    lag_ms_max: u64,
    lost: u64,
    duplicate_effects: u64,
    out_of_order: u64,
    stuck: u64,
    pub(crate) grows: bool,
    pub(crate) lawful: bool,
    seed: u64,
}

/// Works for `duration`, draws the curves, and returns whether anything grows.
pub(crate) async fn soak(run: &mut Run<'_>, seed: u64, duration: Duration) -> Result<Outcome> {
    let orders = Orders { instances: 1, ..Orders::default() };
    let fleet = Fleet::start(&run.place, &run.journal, &run.ahead_ms, orders).await?;
    let fleet = Arc::new(fleet);
    run.open_accounts(&fleet).await?;
    let end = Instant::now() + duration;
    let stop = Arc::clone(&fleet);
    let watching = tokio::spawn(async move { watch(&stop, end).await });
    work(run, &fleet, seed, end).await;
    let samples = watching.await.unwrap_or_default();
    let patience = run.options.patience();
    let idle = until_idle(&fleet, &run.journal, &run.expected, patience).await?;
    let verdict = run.expected.judge(&idle.contents, &idle.depths);
    run.end(fleet).await?;
    draw(&run.options.svg, &samples)?;
    let (before, after) = (quarter(&samples, 1), quarter(&samples, 3));
    Ok(Outcome {
        seconds: duration.as_secs(),
        messages: run.expected.messages(),
        rss_kib_before: before.rss_kib,
        rss_kib_after: after.rss_kib,
        descriptors_before: before.descriptors,
        descriptors_after: after.descriptors,
        outbox_max: samples.iter().map(|it| it.outbox).max().unwrap_or_default(),
        lag_ms_max: samples.iter().map(|it| it.lag_ms).max().unwrap_or_default(),
        lost: verdict.lost,
        duplicate_effects: verdict.duplicate_effects,
        out_of_order: verdict.out_of_order,
        stuck: verdict.stuck,
        grows: grows(before, after),
        lawful: verdict.is_clean() && idle.since.is_some(),
        seed,
    })
}

async fn work(run: &mut Run<'_>, fleet: &Arc<Fleet>, seed: u64, end: Instant) {
    let transfers = run.options.transfers;
    let lease = run.place.lease();
    let planner = Planner { seed, kinds: Vec::new(), transfers, lease, shares: false };
    for round in 0.. {
        if Instant::now() >= end {
            return;
        }
        let transfers = planner.plan(round).transfers;
        let (count, _) = watch::channel(0);
        let patience = run.options.patience();
        let answers = load::run(fleet, &run.journal, transfers.clone(), count, patience).await;
        let answered = transfers.iter().filter(|it| answers.contains_key(&it.key));
        answered.for_each(|transfer| run.expected.add(transfer));
    }
}

async fn watch(fleet: &Fleet, end: Instant) -> Vec<Sample> {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while Instant::now() < end {
        let mut sample = Sample {
            at_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..Sample::default()
        };
        for process in fleet.slots.iter().filter_map(|slot| slot.working()) {
            let (rss_kib, descriptors) = usage(process.pid());
            sample.rss_kib += rss_kib;
            sample.descriptors += descriptors;
        }
        for depth in depths(fleet).await.unwrap_or_default() {
            sample.outbox += depth.outbox;
            sample.lag_ms = sample.lag_ms.max(depth.lag_ms);
        }
        samples.push(sample);
        sleep(SAMPLE_EVERY).await;
    }
    samples
}

/// Resident memory in KiB and open descriptors; zero for a process that has ended.
fn usage(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok());
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    (rss.unwrap_or_default(), descriptors as u64)
}

/// The medians of a quarter, counted from 0.
fn quarter(samples: &[Sample], number: usize) -> Sample {
    let quarter = samples.len() / 4;
    let of_quarter = samples.iter().skip(quarter * number).take(quarter.max(1));
    let median = |value: fn(&Sample) -> u64| {
        let mut values: Vec<_> = of_quarter.clone().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Sample {
        rss_kib: median(|it| it.rss_kib),
        descriptors: median(|it| it.descriptors),
        ..Sample::default()
    }
}

fn grows(before: Sample, after: Sample) -> bool {
    let grown = after.rss_kib.saturating_sub(before.rss_kib);
    let memory = grown > RSS_GROWTH_KIB_MAX
        && grown.saturating_mul(100) > before.rss_kib.saturating_mul(RSS_GROWTH_PERCENT_MAX);
    let descriptors = after.descriptors.saturating_sub(before.descriptors);
    memory || descriptors > DESCRIPTORS_GROWTH_MAX
}

fn draw(path: &Path, samples: &[Sample]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(Error::system("making the folder of the curves"))?;
    }
    std::fs::write(path, svg::curves(samples)).map_err(Error::system("drawing the curves"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss_kib: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |at| Sample { at_ms: at * 1000, rss_kib: rss_kib(at), ..Sample::default() };
        (0..120).map(sample).collect()
    }

    fn grow(samples: &[Sample]) -> bool {
        grows(quarter(samples, 1), quarter(samples, 3))
    }

    #[test]
    fn a_leak_grows_and_warming_up_does_not() {
        assert!(grow(&samples(|at| 50_000 + at * 1000)));
        assert!(!grow(&samples(|at| 50_000 + at.min(20) * 2000)));
        assert!(!grow(&samples(|at| 50_000 + (at % 7) * 300)));
    }

    #[test]
    fn descriptors_that_stay_open_count_as_growth() {
        let sample = |descriptors| Sample { descriptors, ..Sample::default() };
        assert!(grows(sample(30), sample(60)));
        assert!(!grows(sample(30), sample(40)));
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let (rss_kib, descriptors) = usage(std::process::id());
        assert!(rss_kib > 0 && descriptors > 0);
    }
}
