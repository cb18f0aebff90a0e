//! The messages between the rehearsal and the processes: one line of JSON each, over the pipes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::builds::{AccountState, Run};

/// A message to a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Send so many messages of the build's kinds about an account, chosen by the seed.
    Burst { id: u64, account: String, count: u32, seed: u64 },
    /// Say what is stored and what waits.
    Report { id: u64 },
    /// Shut down.
    Stop,
}

/// A message from a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It is ready.
    Ready,
    /// An order was carried out.
    Done { id: u64 },
    /// An order has failed, or its outcome is unknown.
    Failed { id: u64, error: String },
    /// To [`Order::Report`].
    Reported { id: u64, report: Report },
}

impl Answer {
    /// The order that it answers.
    pub(crate) const fn id(&self) -> Option<u64> {
        match self {
            Self::Ready => None,
            Self::Done { id } | Self::Failed { id, .. } | Self::Reported { id, .. } => Some(*id),
        }
    }
}

/// What is stored and what waits, as one process sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The letters of what was sent about each account.
    pub(crate) sent: BTreeMap<String, String>,
    pub(crate) ledger: BTreeMap<String, AccountState>,
    /// Empty in a build without the context.
    pub(crate) audit: BTreeMap<String, Vec<Run>>,
    pub(crate) waiting: u64,
    pub(crate) parked: u64,
    pub(crate) dead_letters: u64,
    pub(crate) rejected: u64,
    /// Since the process began.
    pub(crate) ignored: u64,
    /// The reasons of the first dead letters.
    pub(crate) reasons: Vec<String>,
}
