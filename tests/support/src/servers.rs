//! Pauses a server that `./dev servers` runs, so that it keeps its connections and answers nothing;
//! starts servers of a test's own.

use std::path::Path;
use std::process::{Command, Stdio};

pub use crate::own::{OwnServers, own};
use crate::report::report;
use crate::url::Url;
use crate::{Error, Result};

const SCRIPT: &str = "./dev servers";

/// What the script says of a node that it does not run.
const NO_SUCH_NODE: &str = "there is no node";

/// Pauses a node until the guard is dropped. It is named as in `./dev servers status`, or by a URL
/// of it.
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
    // `./dev servers` knows its nodes by their ports too.
    let node = match node.contains("://") {
        true => Url::parse(node)?.port(),
        false => node.to_owned(),
    };
    act("pause", &node)?;
    Ok(Paused { node })
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
    let action = format!("{word} {node}");
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev"));
    let output = Command::new(script)
        .args(["servers", word, node])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::refused(SCRIPT, &action, error))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if why.contains(NO_SUCH_NODE) {
        return Err(Error::NotOurs { node: node.to_owned() });
    }
    Err(Error::refused(SCRIPT, &action, why))
}
