//! Pauses a server that `./dev servers` runs: it keeps its connections and answers nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cleanup::report;
use crate::{Error, Result};

/// Pauses a node until the guard is dropped.
///
/// All tests share the servers, so keep it short: others wait meanwhile. A
/// [`FaultProxy`](crate::FaultProxy) in [`Mode::Silent`](crate::Mode::Silent) does the same to one
/// test alone. Blocks the thread for some 50 ms.
///
/// # Errors
///
/// [`Error::NotOurs`] where `./dev servers` does not run the node; [`require!`](crate::require)
/// skips the test then.
pub fn pause(node: &str) -> Result<Paused> {
    act("pause", node)?;
    Ok(Paused {
        node: node.to_owned(),
    })
}

/// A paused node, which goes on when this is dropped.
#[derive(Debug)]
pub struct Paused {
    node: String,
}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Err(error) = act("resume", &self.node) {
            report(&format!("{} stays paused: {}", self.node, error.in_full()));
        }
    }
}

fn act(word: &str, node: &str) -> Result<()> {
    let not_ours = |why: String| Error::NotOurs {
        node: node.to_owned(),
        why,
    };
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev"));
    let output = Command::new(script)
        .args(["servers", word, node])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_ours(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(not_ours(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}
