//! A round: deploy and roll back under load, wait until all is done, judge.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::builds::Build;
use crate::error::{Error, Result};
use crate::fleet::{Fleet, Load};
use crate::place::{Pair, Place};
use crate::plan::{Step, plan};
use crate::protocol::Report;
use crate::verdict::Verdict;

/// How long nothing may change before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a build that was started has to handle its first message.
const HANDLES_WITHIN: Duration = Duration::from_secs(20);

/// How many messages are sent at a time while it has not.
const LITTLE: u32 = 8;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A step begins after so long at most, while messages are sent.
const STEP_AFTER_MAX_MS: u64 = 400;

/// How a round ended.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) messages: u64,
    /// How many messages each build has handled.
    pub(crate) by: BTreeMap<String, u64>,
    pub(crate) reasons: Vec<String>,
    /// How long it took from the last step until all was done.
    pub(crate) settled_in: Duration,
}

/// A round that is being played.
struct Round<'p> {
    place: &'p Place,
    fleet: Fleet,
    rng: Rng,
    /// How many messages had been sent about each account when the added context was first there.
    since: Option<BTreeMap<String, u64>>,
    dropped: u64,
    /// What is being sent.
    loads: Vec<Load>,
}

/// Plays a round with so many messages.
pub(crate) async fn play(pair: Pair, place: &Place, seed: u64, messages: u32) -> Result<Outcome> {
    let mut rng = Rng::with_seed(seed);
    let steps = plan(&mut rng, pair.is_shared());
    let each = messages / u32::try_from(steps.len()).unwrap_or(u32::MAX).max(1);
    let (fleet, loads) = (Fleet::default(), Vec::new());
    let mut round = Round { place, fleet, rng, since: None, dropped: 0, loads };
    for step in steps {
        round.step(step, each).await?;
    }
    let outcome = round.settle().await?;
    round.fleet.end().await?;
    Ok(outcome)
}

impl Round<'_> {
    /// Takes a step while messages are sent.
    async fn step(&mut self, step: Step, messages: u32) -> Result<()> {
        let load = self.fleet.load(messages, &mut self.rng);
        sleep(Duration::from_millis(self.rng.u64(..STEP_AFTER_MAX_MS))).await;
        if matches!(step, Step::Stop(_) | Step::Kill(_)) {
            self.note_dropped().await;
        }
        self.fleet.take(step, self.place).await?;
        if step == Step::Start(Build::Expanded) && self.since.is_none() {
            self.since = Some(self.sent().await?);
        }
        self.loads.push(load);
        // Where one process runs at a time, the callers of its last messages wait for the next one.
        if !self.fleet.is_empty() {
            for load in self.loads.drain(..) {
                load.end().await;
            }
        }
        if let Step::Start(build) = step {
            self.has_handled(build).await;
        }
        Ok(())
    }

    /// Waits until a build that was started has handled a message, so that its time is more than a
    /// moment. All lanes may wait for another build, so it does not wait for ever.
    async fn has_handled(&mut self, build: Build) {
        let handled = |reports: &[(Build, Report)]| -> u64 {
            let states = reports.first().into_iter().flat_map(|(_, it)| it.ledger.values());
            states.filter_map(|state| state.by.get(build.as_str())).sum()
        };
        let until = Instant::now() + HANDLES_WITHIN;
        let before = handled(&self.fleet.reports().await);
        while Instant::now() < until && handled(&self.fleet.reports().await) <= before {
            self.fleet.load(LITTLE, &mut self.rng).end().await;
        }
    }

    /// A process forgets its counters with its end.
    async fn note_dropped(&mut self) {
        let reports = self.fleet.reports().await;
        self.dropped += reports.iter().map(|(_, report)| report.ignored).sum::<u64>();
    }

    async fn sent(&self) -> Result<BTreeMap<String, u64>> {
        let report = self.whole().await?;
        Ok(report.sent.into_iter().map(|(account, it)| (account, it.len() as u64)).collect())
    }

    /// The report of a process of the build with everything.
    async fn whole(&self) -> Result<Report> {
        let until = Instant::now() + PATIENCE;
        loop {
            let reports = self.fleet.reports().await;
            let whole = reports.into_iter().find(|(build, _)| *build == Build::Expanded);
            if let Some((_, report)) = whole {
                return Ok(report);
            }
            if Instant::now() > until {
                let why = "no process of the expanded build reports".to_owned();
                return Err(Error::Worker(why));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the verdict is clean, or nothing changes any more.
    async fn settle(&mut self) -> Result<Outcome> {
        self.note_dropped().await;
        let since = self.since.take().unwrap_or_default();
        let began = Instant::now();
        let (mut changed, mut before) = (began, None);
        loop {
            let report = self.whole().await?;
            let verdict = Verdict::of(&report, self.dropped, &since);
            if before.as_ref() != Some(&report) {
                changed = Instant::now();
            }
            if verdict.is_clean() || changed.elapsed() > PATIENCE {
                return Ok(outcome(report, verdict, began.elapsed()));
            }
            before = Some(report);
            sleep(LOOK_EVERY).await;
        }
    }
}

fn outcome(report: Report, verdict: Verdict, settled_in: Duration) -> Outcome {
    let mut by: BTreeMap<String, u64> = BTreeMap::new();
    for (build, count) in report.ledger.into_values().flat_map(|state| state.by) {
        *by.entry(build).or_default() += count;
    }
    let messages = report.sent.values().map(|letters| letters.len() as u64).sum();
    Outcome { verdict, messages, by, reasons: report.reasons, settled_in }
}
