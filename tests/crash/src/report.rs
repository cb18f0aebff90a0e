//! The report: one row per round for people, and one line of JSON at the end for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::fault::Kind;
use crate::plan::Plan;
use crate::verdict::Verdict;

/// One round.
pub(crate) struct Row {
    round: u64,
    instances: usize,
    kind: Kind,
    hit: bool,
    recovery: Duration,
    pub(crate) verdict: Verdict,
}

impl Row {
    pub(crate) fn new(plan: &Plan, hit: bool, recovery: Duration, verdict: Verdict) -> Self {
        let (round, instances, kind) = (plan.round, plan.instances, plan.fault.kind);
        Self { round, instances, kind, hit, recovery, verdict }
    }

    /// The heads of the columns.
    pub(crate) fn heads() -> String {
        let (fault, recovery) = ("fault", "recovery");
        format!("{:>5}  {:>9}  {fault:<34}  {recovery:>9}  verdict", "round", "instances")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, instances, kind, verdict, .. } = self;
        let missed = if self.hit { "" } else { " (missed)" };
        let fault = format!("{kind}{missed}");
        let recovery = format!("{} ms", self.recovery.as_millis());
        write!(f, "{:>5}  {instances:>9}  {fault:<34}  {recovery:>9}  ", round + 1)?;
        if verdict.is_clean() {
            return f.write_str("clean");
        }
        for (count, what) in [
            (verdict.lost, "lost"),
            (verdict.duplicate_effects, "duplicate effects"),
            (verdict.out_of_order, "out of order"),
            (verdict.stuck, "stuck"),
            (verdict.money_off, "of money wrong"),
            (verdict.unexpected_dead_letters, "unexpected dead letters"),
            (verdict.leaked_leases, "leaked leases"),
        ] {
            if count > 0 {
                write!(f, "{count} {what}; ")?;
            }
        }
        Ok(())
    }
}

/// All rounds.
pub(crate) struct Report {
    seed: u64,
    rows: Vec<Row>,
    pub(crate) messages: u64,
}

/// The last line.
#[derive(Serialize)]
struct Line {
    rounds: usize,
    messages: u64,
    faults: BTreeMap<String, u64>,
    lost: u64,
    duplicate_effects: u64,
    out_of_order: u64,
    stuck: u64,
    money_off: u64,
    unexpected_dead_letters: u64,
    leaked_leases: u64,
    recovery_ms_p50: u64,
    recovery_ms_max: u64,
    seed: u64,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rows: Vec::new(), messages: 0 }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The first verdict that is not clean.
    pub(crate) fn broken(&self) -> Option<&Verdict> {
        self.rows.iter().map(|row| &row.verdict).find(|verdict| !verdict.is_clean())
    }

    /// The report as one line of JSON. Only faults that happened count.
    pub(crate) fn to_json(&self) -> String {
        let sum =
            |count: fn(&Verdict) -> u64| self.rows.iter().map(|row| count(&row.verdict)).sum();
        let mut faults = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.hit) {
            *faults.entry(row.kind.to_string()).or_default() += 1;
        }
        let mut recoveries: Vec<u64> = self
            .rows
            .iter()
            .filter(|row| row.hit)
            .map(|row| u64::try_from(row.recovery.as_millis()).unwrap_or(u64::MAX))
            .collect();
        recoveries.sort_unstable();
        let line = Line {
            rounds: self.rows.len(),
            messages: self.messages,
            faults,
            lost: sum(|it| it.lost),
            duplicate_effects: sum(|it| it.duplicate_effects),
            out_of_order: sum(|it| it.out_of_order),
            stuck: sum(|it| it.stuck),
            money_off: sum(|it| it.money_off),
            unexpected_dead_letters: sum(|it| it.unexpected_dead_letters),
            leaked_leases: sum(|it| it.leaked_leases),
            recovery_ms_p50: recoveries.get(recoveries.len() / 2).copied().unwrap_or_default(),
            recovery_ms_max: recoveries.last().copied().unwrap_or_default(),
            seed: self.seed,
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}
