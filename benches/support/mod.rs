//! What the benchmarks share: medians over interleaved rounds, a table for people, JSON for tools.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

/// The results of one benchmark.
pub(crate) struct Report {
    name: &'static str,
    results: Vec<Measured>,
    notes: Vec<String>,
}

/// One line of a report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Our number, in `unit`.
    pub(crate) ours: f64,
    /// The number it is compared with, in `unit`.
    pub(crate) theirs: Option<f64>,
    pub(crate) unit: &'static str,
    /// How many times better ours is.
    pub(crate) ratio: Option<f64>,
    /// For a peer, the smallest acceptable ratio; for a limit, the largest acceptable number.
    pub(crate) target: Option<f64>,
}

/// What a number is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Another way to do the same work.
    Peer,
    /// A number that must not be exceeded.
    Limit,
}

/// Whether a part of a benchmark runs: all do, unless the command line names some.
#[allow(dead_code, reason = "not every benchmark has parts")]
pub(crate) fn wants(part: &str) -> bool {
    let mut named = env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|word| word == part)
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, results: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, measured: Measured) {
        self.results.push(measured);
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints the table and writes `target/bench/NAME.json`.
    pub(crate) fn publish(&self) -> io::Result<()> {
        let path = folder()?.join(format!("{}.json", self.name));
        fs::write(&path, serde_json::to_vec_pretty(&self.results)?)?;
        let mut out = io::stdout().lock();
        writeln!(out, "\n{}", heading())?;
        for measured in &self.results {
            writeln!(out, "{}", measured.line())?;
        }
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        writeln!(out, "written to {}", path.display())
    }
}

impl Measured {
    /// Ours compared with theirs, by the median of their rounds. A disturbance of the machine affects
    /// both sides of a round, so the rounds are compared one by one.
    pub(crate) fn peer(
        name: impl Into<String>,
        unit: &'static str,
        [ours, theirs]: [&[f64]; 2],
        times_better: impl Fn(f64, f64) -> f64,
        target: Option<f64>,
    ) -> Self {
        let rounds = ours.iter().zip(theirs);
        let ratios: Vec<f64> = rounds.map(|(ours, theirs)| times_better(*ours, *theirs)).collect();
        Self {
            name: name.into(),
            kind: Kind::Peer,
            ours: median(ours),
            theirs: Some(median(theirs)),
            unit,
            ratio: Some(median(&ratios)),
            target,
        }
    }

    /// Ours compared with a number that it must not exceed.
    pub(crate) fn limit(
        name: impl Into<String>,
        ours: f64,
        unit: &'static str,
        target: Option<f64>,
    ) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Limit,
            ours,
            theirs: None,
            unit,
            ratio: target.filter(|_| ours > 0.0).map(|target| target / ours),
            target,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.kind, self.target, self.ratio) {
            (_, None, _) => "",
            (Kind::Peer, Some(target), Some(ratio)) if ratio >= target => "met",
            (Kind::Limit, Some(target), _) if self.ours <= target => "met",
            _ => "MISSED",
        }
    }

    fn line(&self) -> String {
        let theirs = self.theirs.map_or_else(String::new, number);
        let ratio = self.ratio.map_or_else(String::new, |r| format!("{r:.2}x"));
        let target = match (self.kind, self.target) {
            (_, None) => String::new(),
            (Kind::Peer, Some(target)) => format!(">= {target}x"),
            (Kind::Limit, Some(target)) => format!("<= {target}"),
        };
        let (name, ours, unit, verdict) =
            (&self.name, number(self.ours), self.unit, self.verdict());
        format!("{name:<50}{ours:>12}{theirs:>12} {unit:<13}{ratio:>8}{target:>9} {verdict}")
    }
}

fn heading() -> String {
    let (name, ours, theirs, unit) = ("", "ours", "theirs", "unit");
    format!("{name:<50}{ours:>12}{theirs:>12} {unit:<13}{:>8}{:>9}", "ratio", "target")
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// The median, or 0 without numbers. It tolerates the noise of a shared machine.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low.midpoint(*high),
        _ => 0.0,
    }
}

/// Where results and the files of a run go: `bench` in the workspace's target folder.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
