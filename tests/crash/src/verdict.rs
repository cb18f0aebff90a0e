//! The verdict: compares what was stored with what was answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Book;
use crate::domain::accounts::Transfer;
use crate::plan::{ACCOUNTS, OPENING_BALANCE};
use crate::protocol::{Contents, Depth};

/// What must be stored, after all rounds so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// How many moves each account has seen.
    moves: BTreeMap<String, u64>,
    /// The flagged transfers.
    flagged: BTreeSet<String>,
}

/// Broken laws, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Effects that were confirmed and do not exist.
    pub(crate) lost: u64,
    /// Effects beyond the first.
    pub(crate) duplicate_effects: u64,
    /// Effects that came after a later one of their key.
    pub(crate) out_of_order: u64,
    /// Effects that are still missing while their messages wait.
    pub(crate) stuck: u64,
    /// By how much the sum of all balances is wrong, ledger and audit included.
    pub(crate) money_off: u64,
    /// Dead letters that are not part of the workload.
    pub(crate) unexpected_dead_letters: u64,
    /// Leases that are held although no worker runs.
    pub(crate) leaked_leases: u64,
    /// The keys concerned.
    pub(crate) keys: BTreeSet<String>,
}

impl Expected {
    /// Adds a transfer that was answered.
    pub(crate) fn add(&mut self, transfer: &Transfer) {
        for account in [&transfer.from, &transfer.to] {
            *self.moves.entry(account.clone()).or_default() += 1;
        }
        if transfer.flagged {
            self.flagged.insert(transfer.key.clone());
        }
    }

    /// How many events were committed: moves, their bookings, and flags.
    pub(crate) fn messages(&self) -> u64 {
        self.moves.values().sum::<u64>() * 2 + self.flagged.len() as u64
    }

    /// Whether every read model is complete.
    pub(crate) fn is_complete(&self, contents: &Contents) -> bool {
        let applied = |books: &[Book]| books.iter().map(|book| book.applied().count()).sum();
        let moves: u64 = self.moves.values().sum();
        let (ledger, audit): (usize, usize) = (applied(&contents.ledger), applied(&contents.audit));
        ledger as u64 >= moves
            && audit as u64 >= moves * 2
            && contents.findings.len() >= self.flagged.len()
    }

    /// Compares what is stored with what is expected. `depths` is what waits in the stores.
    pub(crate) fn judge(&self, contents: &Contents, depths: &[Depth]) -> Verdict {
        let mut verdict = Verdict::default();
        let waiting = |sender: &str, receiver: &str| {
            let depth = |name: &str| depths.iter().find(|depth| depth.context == name);
            depth(sender).map_or(0, |it| it.outbox) + depth(receiver).map_or(0, |it| it.parked)
        };
        self.judge_accounts(contents, &mut verdict);
        let booked: BTreeMap<_, _> =
            contents.ledger.iter().map(|book| (book.name.clone(), applications(book))).collect();
        for (books, prefix, expected, waiting) in [
            (&contents.ledger, "", &self.moves, waiting("accounts", "ledger")),
            (&contents.audit, "moved:", &self.moves, waiting("accounts", "audit")),
            (&contents.audit, "booked:", &booked, waiting("ledger", "audit")),
        ] {
            verdict.judge_books(books, prefix, expected, waiting);
        }
        self.judge_findings(contents, waiting("accounts", "audit"), &mut verdict);
        verdict
    }

    fn judge_accounts(&self, contents: &Contents, verdict: &mut Verdict) {
        let sum: i64 = contents.accounts.iter().map(|account| account.balance).sum();
        let opened = ACCOUNTS.cast_signed() * OPENING_BALANCE;
        verdict.money_off += sum.abs_diff(opened);
        for books in [&contents.ledger, &contents.audit] {
            let moved: i64 = books.iter().map(|book| book.balance).sum();
            verdict.money_off += moved.unsigned_abs();
        }
        let stored: BTreeMap<_, _> =
            contents.accounts.iter().map(|account| (&account.name, account.sequence)).collect();
        for (account, moves) in &self.moves {
            let seen = stored.get(account).copied().unwrap_or_default();
            verdict.lost += moves.saturating_sub(seen);
            verdict.duplicate_effects += seen.saturating_sub(*moves);
            if seen != *moves {
                verdict.keys.insert(account.clone());
            }
        }
    }

    fn judge_findings(&self, contents: &Contents, waiting: u64, verdict: &mut Verdict) {
        let found: BTreeMap<_, _> =
            contents.findings.iter().map(|it| (&it.transfer, it.times)).collect();
        let missing = self.flagged.iter().filter(|it| !found.contains_key(it)).count() as u64;
        verdict.stuck += missing.min(waiting);
        verdict.lost += missing.saturating_sub(waiting);
        verdict.duplicate_effects +=
            found.values().map(|times| times.saturating_sub(1)).sum::<u64>();
    }
}

impl Verdict {
    fn judge_books(
        &mut self,
        books: &[Book],
        prefix: &str,
        expected: &BTreeMap<String, u64>,
        waiting: u64,
    ) {
        let mut missing = 0;
        for (account, moves) in expected {
            let name = format!("{prefix}{account}");
            let book = books.iter().find(|book| book.name == name);
            let before = (self.duplicate_effects, self.out_of_order);
            let applied = book.map_or(0, |book| self.judge_order(book));
            let missing_here = moves.saturating_sub(applied);
            missing += missing_here;
            if missing_here > 0 || before != (self.duplicate_effects, self.out_of_order) {
                self.keys.insert(account.clone());
            }
        }
        self.stuck += missing.min(waiting);
        self.lost += missing.saturating_sub(waiting);
    }

    /// Counts duplicates and wrong order in one book, and returns how many different numbers it has.
    fn judge_order(&mut self, book: &Book) -> u64 {
        let (mut seen, mut last) = (BTreeSet::new(), 0);
        for sequence in book.applied() {
            if !seen.insert(sequence) {
                self.duplicate_effects += 1;
            } else if sequence < last {
                self.out_of_order += 1;
            }
            last = last.max(sequence);
        }
        seen.len() as u64
    }

    /// Whether every law held.
    pub(crate) fn is_clean(&self) -> bool {
        let Self { lost, duplicate_effects, out_of_order, stuck, money_off, .. } = self;
        let laws = lost + duplicate_effects + out_of_order + stuck + money_off;
        laws + self.unexpected_dead_letters + self.leaked_leases == 0
    }
}

/// The ledger publishes once for each move that it applies.
fn applications(book: &Book) -> u64 {
    book.applied().count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Run;
    use crate::domain::accounts::Account;
    use crate::domain::audit::Finding;

    fn transfer() -> Transfer {
        let (from, to) = ("a00".to_owned(), "a01".to_owned());
        Transfer {
            key: "t".to_owned(),
            from,
            to,
            amount: 5,
            failures: 0,
            flagged: true,
            think_ms: 0,
        }
    }

    fn expected() -> Expected {
        let mut expected = Expected::default();
        expected.add(&transfer());
        expected.add(&Transfer { flagged: false, ..transfer() });
        expected
    }

    fn account(number: u64, balance: i64, sequence: u64) -> Account {
        Account { name: crate::plan::account(number), balance, sequence }
    }

    fn book(name: &str) -> Book {
        Book { name: name.to_owned(), balance: 0, runs: vec![Run { first: 1, last: 2 }] }
    }

    fn lawful() -> Contents {
        let moved = [account(0, OPENING_BALANCE - 10, 2), account(1, OPENING_BALANCE + 10, 2)];
        let still = (2..ACCOUNTS).map(|number| account(number, OPENING_BALANCE, 0));
        let audit = ["moved:a00", "moved:a01", "booked:a00", "booked:a01"];
        Contents {
            accounts: moved.into_iter().chain(still).collect(),
            ledger: vec![book("a00"), book("a01")],
            audit: audit.map(book).to_vec(),
            findings: vec![Finding { transfer: "t".to_owned(), times: 1 }],
        }
    }

    fn run(first: u64, last: u64) -> Run {
        Run { first, last }
    }

    #[test]
    fn contents_that_match_the_answers_are_clean() {
        let (expected, contents) = (expected(), lawful());
        assert!(expected.is_complete(&contents));
        assert!(expected.judge(&contents, &[]).is_clean());
        assert_eq!(expected.messages(), 9);
    }

    #[test]
    fn losses_duplicates_and_wrong_order_are_distinguished() {
        let mut contents = lawful();
        contents.audit[0].runs = vec![run(2, 2)];
        contents.audit[1].runs = vec![run(1, 2), run(2, 2)];
        contents.audit[2].runs = vec![run(2, 2), run(1, 1)];
        contents.findings[0].times = 3;
        contents.accounts[5].balance += 7;
        let verdict = expected().judge(&contents, &[]);
        assert_eq!((verdict.lost, verdict.duplicate_effects), (1, 3));
        assert_eq!((verdict.out_of_order, verdict.money_off), (1, 7));
        assert_eq!(verdict.keys.len(), 2);
    }

    #[test]
    fn what_waits_in_a_store_is_stuck_and_not_lost() {
        let mut contents = lawful();
        contents.ledger[0].runs = vec![run(1, 1)];
        contents.audit[2].runs = vec![run(1, 1)];
        let waits = Depth {
            context: "ledger".to_owned(),
            outbox: 0,
            parked: 1,
            dead: 0,
            published: 0,
            lag_ms: 0,
        };
        let verdict = expected().judge(&contents, &[waits]);
        assert_eq!((verdict.lost, verdict.stuck), (0, 1));
    }

    #[test]
    fn an_answered_transfer_that_is_gone_is_lost() {
        let mut contents = lawful();
        contents.accounts[0].sequence = 1;
        let verdict = expected().judge(&contents, &[]);
        assert_eq!((verdict.lost, verdict.keys.contains("a00")), (1, true));
    }
}
