//! The verdict: what was sent, compared with what took effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::builds::{Kind, Run};
use crate::protocol::Report;

/// How much is wrong. All zeros is the only good verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Messages without effect.
    pub(crate) lost: u64,
    /// Effects beyond the first of a message.
    pub(crate) twice: u64,
    /// Messages that took effect after a later one of their account.
    pub(crate) out_of_order: u64,
    /// Effects of messages that were never sent.
    pub(crate) invented: u64,
    /// Messages that a build has dropped although another one handles them.
    pub(crate) dropped: u64,
    pub(crate) dead_letters: u64,
    pub(crate) rejected: u64,
    /// Messages that still wait.
    pub(crate) waiting: u64,
    /// Accounts that the index does not find.
    pub(crate) not_indexed: u64,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Judges what a process of the build with everything sees. `since` says how many messages were
    /// sent about each account when the added context was first there.
    pub(crate) fn of(report: &Report, dropped: u64, since: &BTreeMap<String, u64>) -> Self {
        let mut verdict = Self {
            dropped,
            dead_letters: report.dead_letters,
            rejected: report.rejected,
            waiting: report.waiting + report.parked,
            ..Self::default()
        };
        for (account, letters) in &report.sent {
            let state = report.ledger.get(account);
            let runs = state.map_or(&[][..], |state| &state.runs);
            verdict.compare(&(0..letters.len() as u64).collect::<Vec<_>>(), runs);
            verdict.not_indexed += u64::from(state.is_none_or(|it| it.is_found != Some(true)));
            let books = report.audit.get(account).map_or(&[][..], Vec::as_slice);
            verdict.compare_audit(letters, books, since.get(account).copied().unwrap_or_default());
        }
        let unknown = report.ledger.keys().filter(|account| !report.sent.contains_key(*account));
        verdict.invented += unknown.count() as u64;
        verdict
    }

    /// Compares what must have had an effect, in this order, with what had.
    fn compare(&mut self, sent: &[u64], runs: &[Run]) {
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let mut last = None;
        for number in Run::numbers(runs) {
            *times.entry(number).or_default() += 1;
            self.out_of_order += u64::from(last.is_some_and(|last| number < last));
            last = Some(number);
        }
        for number in sent {
            match times.remove(number) {
                None => self.lost += 1,
                Some(count) => self.twice += count - 1,
            }
        }
        self.invented += times.len() as u64;
    }

    /// What was sent before the context was there may have reached it or not.
    fn compare_audit(&mut self, letters: &str, runs: &[Run], since: u64) {
        let charged = (0..).zip(letters.chars()).filter(|(_, it)| *it == Kind::Charged.letter());
        let charged = charged.map(|(number, _)| number);
        let seen: BTreeSet<u64> = Run::numbers(runs).collect();
        let expected = charged.filter(|number| *number >= since || seen.contains(number));
        self.compare(&expected.collect::<Vec<_>>(), runs);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("clean");
        }
        let parts = [
            (self.lost, "lost"),
            (self.twice, "twice"),
            (self.out_of_order, "out of order"),
            (self.invented, "invented"),
            (self.dropped, "dropped"),
            (self.dead_letters, "dead letters"),
            (self.rejected, "rejected"),
            (self.waiting, "waiting"),
            (self.not_indexed, "not indexed"),
        ];
        let wrong = parts.into_iter().filter(|(count, _)| *count > 0);
        let wrong: Vec<_> = wrong.map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(&wrong.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builds::AccountState;

    fn runs(numbers: &[u64]) -> Vec<Run> {
        let mut runs = Vec::new();
        numbers.iter().for_each(|number| Run::append(&mut runs, *number));
        runs
    }

    fn report(letters: &str, ledger: &[u64], audit: &[u64]) -> Report {
        let state = AccountState { runs: runs(ledger), is_found: Some(true), ..Default::default() };
        Report {
            sent: BTreeMap::from([("a".to_owned(), letters.to_owned())]),
            ledger: BTreeMap::from([("a".to_owned(), state)]),
            audit: BTreeMap::from([("a".to_owned(), runs(audit))]),
            ..Report::default()
        }
    }

    fn judge(report: &Report, since: u64) -> Verdict {
        Verdict::of(report, 0, &BTreeMap::from([("a".to_owned(), since)]))
    }

    #[test]
    fn each_effect_once_and_in_order_is_clean() {
        let good = report("cnpc", &[0, 1, 2, 3], &[0, 3]);
        assert_eq!(judge(&good, 0).to_string(), "clean");
        assert!(judge(&report("cnpc", &[0, 1, 2, 3], &[3]), 1).is_clean());
        assert!(judge(&report("cnpc", &[0, 1, 2, 3], &[0, 3]), 1).is_clean());
    }

    #[test]
    fn every_fault_shows() {
        for (ledger, audit, text) in [
            (&[0, 1, 3][..], &[0, 3][..], "1 lost"),
            (&[0, 1, 2, 2, 3], &[0, 3], "1 twice"),
            (&[0, 2, 1, 3], &[0, 3], "1 out of order"),
            (&[0, 1, 2, 3, 4], &[0, 3], "1 invented"),
            (&[0, 1, 2, 3], &[0], "1 lost"),
            (&[0, 1, 2, 3], &[0, 3, 3], "1 twice"),
            (&[0, 1, 2, 3], &[3, 0], "1 out of order"),
            (&[0, 1, 2, 3], &[0, 1, 3], "1 invented"),
        ] {
            assert_eq!(judge(&report("cnpc", ledger, audit), 0).to_string(), text);
        }
        let mut bad = report("c", &[0], &[0]);
        (bad.waiting, bad.parked, bad.dead_letters, bad.rejected) = (1, 2, 3, 4);
        bad.ledger.get_mut("a").unwrap().is_found = Some(false);
        let text = "5 dropped, 3 dead letters, 4 rejected, 3 waiting, 1 not indexed";
        assert_eq!(Verdict::of(&bad, 5, &BTreeMap::new()).to_string(), text);
        let mut unknown = report("c", &[0], &[0]);
        unknown.ledger.insert("b".to_owned(), AccountState::default());
        assert_eq!(judge(&unknown, 0).to_string(), "1 invented");
    }
}
