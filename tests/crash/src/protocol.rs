//! The messages between the suite and its workers: one line of JSON each, over the pipes.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::domain::accounts::{Account, Transfer, Transferred};
use crate::domain::audit::Finding;
use crate::domain::{Book, CONTEXTS, EndedRun, Report};

/// A message to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Open an account, once.
    Open { account: String, balance: i64 },
    /// Send a transfer under its own key.
    Transfer(Transfer),
    /// Move the clock, forwards or backwards.
    Jump { by_ms: i64 },
    /// Answer a question.
    Ask { ask: u64, question: Question },
    /// Shut down.
    Stop,
}

/// A question to a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    /// How much waits.
    Depth,
    /// Everything that was stored.
    Contents,
    /// Replay all dead letters, and report their codes.
    Replay,
    /// Delete records of the outbox under leases that have moved, and report how many deletions were
    /// tried and how many succeeded.
    DeleteLate,
}

/// A message from a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It is ready.
    Ready,
    /// A command has committed.
    Done { key: String, transferred: Option<Transferred> },
    /// A command has failed, or its outcome is unknown.
    Failed { key: String, error: String },
    /// The answer to a question.
    Told { ask: u64, told: Told },
    /// A question could not be answered.
    Unable { ask: u64, error: String },
    /// A handler starts to apply an event.
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
    /// To [`Question::Replay`]: the codes, or the failure's text where there is no code.
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
    /// How many messages were published so far.
    pub(crate) published: u64,
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
    /// Adds what another worker reported of its contexts.
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

/// A worker's standard output: lines are never mixed, however many tasks write.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<std::io::Stdout>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(std::io::stdout())))
    }

    /// Writes one line. An error is ignored: the suite is gone, and the worker ends soon.
    pub(crate) fn write(&self, answer: &Answer) {
        let Ok(mut line) = serde_json::to_vec(answer) else { return };
        line.push(b'\n');
        let mut stdout = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ignored = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}

impl Report for Output {
    fn applies(&self, context: String, key: String, sequence: u64, message: String) {
        self.write(&Answer::Applies { context, key, sequence, message });
    }

    fn ended(&self, run: EndedRun) {
        let EndedRun { context, key, message, attempt, error } = run;
        self.write(&Answer::Ended { context, key, message, attempt, error });
    }
}
