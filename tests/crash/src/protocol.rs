//! What the suite and its workers say to each other: one line of JSON each, over the pipes.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::domain::accounts::{Account, Transfer, Transferred};
use crate::domain::audit::Finding;
use crate::domain::{Book, CONTEXTS};

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Open an account, once.
    Open { account: String, balance: i64 },
    /// Send a transfer under its own key.
    Transfer(Transfer),
    /// Jump with the clock, back too.
    Jump { by_ms: i64 },
    /// Answer a question.
    Ask { ask: u64, question: Question },
    /// End in order.
    Stop,
}

/// What a worker is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    /// How much waits.
    Depth,
    /// Everything that was stored.
    Contents,
    /// Replay all dead letters; then their codes.
    Replay,
    /// Delete records of the outbox under leases that have moved; then how many were tried and
    /// how many were deleted.
    DeleteLate,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It works from now on.
    Ready,
    /// A command has committed.
    Done { key: String, transferred: Option<Transferred> },
    /// A command has failed or its outcome is not known.
    Failed { key: String, error: String },
    /// To a question.
    Told { ask: u64, told: Told },
    /// A question could not be answered.
    Unable { ask: u64, error: String },
    /// A handler begins to apply an event.
    Applies { context: String, key: String, sequence: u64, message: String },
    /// A run of a message has ended.
    Ended { context: String, key: String, message: String, attempt: u32, error: Option<String> },
}

/// The answer to a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Told {
    /// To [`Question::Depth`], of the contexts that the worker hosts.
    Depth(Vec<Depth>),
    /// To [`Question::Contents`].
    Contents(Contents),
    /// To [`Question::Replay`]: the codes, or the failure where there is none.
    Replayed(Vec<String>),
    /// To [`Question::DeleteLate`].
    DeletedLate { tried: u64, deleted: u64 },
}

/// What waits in the store of one context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Depth {
    pub(crate) context: String,
    pub(crate) outbox: u64,
    pub(crate) parked: u64,
    pub(crate) dead: u64,
    /// How many records have left the outbox so far.
    pub(crate) confirmed: u64,
    /// The age of the oldest record in the outbox.
    pub(crate) lag_ms: u64,
}

/// Everything that was stored by the contexts that a worker hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) accounts: Vec<Account>,
    pub(crate) ledger: Vec<Book>,
    pub(crate) audit: Vec<Book>,
    pub(crate) findings: Vec<Finding>,
}

impl Contents {
    /// Adds what another worker told of its contexts.
    pub(crate) fn add(&mut self, context: &str, from: &Self) {
        match CONTEXTS.iter().position(|name| *name == context) {
            Some(0) => self.accounts.clone_from(&from.accounts),
            Some(1) => self.ledger.clone_from(&from.ledger),
            _ => {
                self.audit.clone_from(&from.audit);
                self.findings.clone_from(&from.findings);
            }
        }
    }
}

/// Where a worker speaks: whole lines, whoever speaks at the same time.
#[derive(Clone)]
pub(crate) struct Mouth(Arc<Mutex<std::io::Stdout>>);

impl Mouth {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(std::io::stdout())))
    }

    /// Says one line. Nobody hears it when the suite is gone, and then the worker ends soon.
    pub(crate) fn say(&self, answer: &Answer) {
        let Ok(mut line) = serde_json::to_vec(answer) else { return };
        line.push(b'\n');
        let mut stdout = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _nobody_hears = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}
