//! Sender and receiver as a process of its own, which its messages and tests end. The environment names
//! its store, its transport and a folder.
//!
//! It sends the steps of `steps.json` once, and says in `state-INSTANCE.json` how far it is.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a program exports nothing")]

mod domain;
mod state;
mod step;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use mamey::store::DeadLetter;
use mamey::{Error, Result, RunningService, Service};

use domain::{Count, RECEIVER, Send, WAITING};
use state::{Letter, State};
use step::{FOLDER, INSTANCE};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let missing = |name: &str| Error::misconfigured(format!("{name} is not set"));
    let folder = PathBuf::from(std::env::var_os(FOLDER).ok_or_else(|| missing(FOLDER))?);
    let instance = std::env::var(INSTANCE).map_err(|_| missing(INSTANCE))?;
    let steps = std::fs::read(folder.join("steps.json")).map_err(failed)?;
    let steps = serde_json::from_slice(&steps).map_err(failed)?;

    let service = Service::from_env()?.host(domain::sender()).host(domain::receiver());
    let service = service.start().await?;
    service.send(Send { steps }).idempotency_key("steps").await?;
    let mut ends = std::pin::pin!(service.wait_for_shutdown());
    while tokio::time::timeout(Duration::from_millis(30), ends.as_mut()).await.is_err() {
        // The store may be unavailable for a moment.
        if let Ok(state) = state_of(&service).await {
            write(&state, &folder, &instance).map_err(failed)?;
        }
    }
    service.shutdown().await
}

async fn state_of(service: &RunningService) -> Result<State> {
    let totals = service.totals().await?;
    let tally = service.query(Count).await?;
    let letters = service.store(RECEIVER)?.dead_letters(None, 100).await?;
    let letter = |letter: DeadLetter| Letter {
        key: letter.envelope.metadata.key.map(|key| key.to_string()).unwrap_or_default(),
        reason: letter.reason.as_str().to_owned(),
        text: letter.failure.message,
    };
    Ok(State {
        handled: tally.handled,
        out_of_order: tally.out_of_order,
        parked: totals.parked,
        waiting: WAITING.load(Ordering::Acquire),
        suspects: totals.suspects,
        aborted: totals.aborted,
        subscription_failures: totals.subscription_failures,
        letters: letters.into_iter().map(letter).collect(),
    })
}

/// Replaces the file as a whole, so that it is never read half-written.
fn write(state: &State, folder: &Path, instance: &str) -> std::io::Result<()> {
    let new = folder.join(format!("{instance}.new"));
    std::fs::write(&new, serde_json::to_vec(state)?)?;
    std::fs::rename(new, state::path(folder, instance))
}

fn failed(cause: impl std::error::Error + std::marker::Send + Sync + 'static) -> Error {
    Error::other(cause.to_string()).with_source(cause)
}
