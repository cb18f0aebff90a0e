//! The journal: what happened to each key, and which faults were injected meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// How many lines are kept of each key.
const LINES_PER_KEY_MAX: usize = 400;

/// The key of the lines about faults.
const FAULTS: &str = "";

/// Lines with their times, in microseconds since the journal was begun.
type Lines = VecDeque<(u128, String)>;

/// What happened, by key. The oldest lines are dropped first.
#[derive(Clone)]
pub(crate) struct Journal {
    begun: Instant,
    lines: Arc<Mutex<BTreeMap<String, Lines>>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), lines: Arc::default() }
    }

    /// Notes what happened to a key.
    pub(crate) fn note(&self, key: &str, line: String) {
        let at_us = self.begun.elapsed().as_micros();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = lines.entry(key.to_owned()).or_default();
        if of_key.len() >= LINES_PER_KEY_MAX {
            of_key.pop_front();
        }
        of_key.push_back((at_us, line));
    }

    /// Notes a fault, which concerns all keys.
    pub(crate) fn note_fault(&self, line: String) {
        self.note(FAULTS, line);
    }

    /// What happened to a key, and the faults in between.
    pub(crate) fn history(&self, key: &str) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |key: &str| lines.get(key).into_iter().flatten().cloned();
        let mut history: Vec<_> = of(key).chain(of(FAULTS)).collect();
        history.sort();
        history
            .iter()
            .map(|(at_us, line)| format!("  {:>12.6}  {line}\n", *at_us as f64 / 1e6))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_of_one_key_and_of_the_faults() {
        let journal = Journal::new();
        journal.note("a01", "applied 1".to_owned());
        journal.note("a02", "applied 9".to_owned());
        journal.note_fault("killed".to_owned());
        let history = journal.history("a01");
        assert!(history.contains("applied 1") && history.contains("killed"), "{history}");
        assert!(!history.contains("applied 9"), "{history}");
    }
}
