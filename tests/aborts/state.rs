//! How far a process is, which it writes into a file for the test.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How far a process is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Steps that took effect, in whatever process.
    pub handled: u64,
    pub out_of_order: u64,
    pub parked: u64,
    /// Handlers that wait in this process.
    pub waiting: u64,
    /// What this process has found: messages that may have been in hand when an instance ended, and ends
    /// while a handler ran.
    pub suspects: u64,
    pub aborted: u64,
    pub subscription_failures: u64,
    pub letters: Vec<Letter>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub key: String,
    pub reason: String,
    pub text: String,
}

impl State {
    pub fn read(folder: &Path, instance: &str) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path(folder, instance)).ok()?).ok()
    }

    pub fn forget(folder: &Path, instance: &str) {
        let _ = std::fs::remove_file(path(folder, instance));
    }
}

/// The file of a process.
pub fn path(folder: &Path, instance: &str) -> PathBuf {
    folder.join(format!("state-{instance}.json"))
}
