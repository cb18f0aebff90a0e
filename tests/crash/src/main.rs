//! The crash suite: breaks processes, links, servers and clocks, and checks that every law holds.
//!
//! `./dev crash --help` lists its options. It starts itself again as the workers of the service under
//! test, which use nothing but Mamey's public API.

mod domain;
mod error;
mod fault;
mod fleet;
mod idle;
mod inject;
mod journal;
mod load;
mod options;
mod place;
mod plan;
mod protocol;
mod report;
mod rounds;
mod sample;
mod soak;
mod svg;
mod verdict;
mod worker;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::error::{Error, Result};
use crate::options::{Cli, Hidden, Options};
use crate::place::Place;
use crate::report::Row;
use crate::rounds::Run;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let outcome = match cli.hidden {
        Some(Hidden::Worker { hosts }) => Box::pin(work(hosts)).await,
        Some(Hidden::Inspect) => Box::pin(inspect()).await,
        None => Box::pin(run(&cli.options)).await,
    };
    match outcome {
        Ok(lawful) if lawful => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

async fn work(hosts: Vec<String>) -> Result<bool> {
    worker::work(hosts).await?;
    Ok(true)
}

async fn inspect() -> Result<bool> {
    let inspection = worker::inspect().await?;
    say(&mut std::io::stdout(), &serde_json::to_string(&inspection).unwrap_or_default());
    Ok(true)
}

/// Whether all laws held.
async fn run(options: &Options) -> Result<bool> {
    let folder = tempfile::Builder::new().prefix("mamey-crash-").tempdir();
    let folder = folder.map_err(Error::system("making a folder for the run"))?;
    let (place, _made) = Place::prepare(options, folder.path()).await?;
    let outcome = play(options, place).await;
    if !matches!(outcome, Ok((true, _))) {
        // A failed run keeps its logs.
        let kept = folder.keep();
        say(&mut std::io::stdout(), &format!("the workers' logs are in {}", kept.display()));
    }
    let (lawful, last_line) = outcome?;
    say(&mut std::io::stdout(), &last_line);
    Ok(lawful)
}

/// Whether all laws held, and the last line.
async fn play(options: &Options, place: Place) -> Result<(bool, String)> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut stdout = std::io::stdout();
    let (store, transport) = (options.store, options.transport);
    say(&mut stdout, &format!("{store:?} + {transport:?}, --seed {seed}"));
    let mut run = Run::new(options, place);
    if let Some(minutes) = options.minutes {
        let outcome = soak::soak(&mut run, seed, Duration::from_secs(minutes * 60)).await?;
        say(&mut stdout, &format!("the curves are in {}", options.svg.display()));
        let line = serde_json::to_string(&outcome).unwrap_or_default();
        return Ok((outcome.lawful && !outcome.grows, line));
    }
    say(&mut stdout, &Row::heads());
    let report = run.play(seed, |row| say(&mut std::io::stdout(), &row.to_string())).await?;
    if let Some(verdict) = report.broken() {
        say(&mut stdout, &run.histories(verdict));
    }
    Ok((report.broken().is_none(), report.to_json()))
}

/// To standard error, because standard output carries the protocol.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MAMEY_CRASH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Prints one line; an error, such as a closed pipe, is ignored.
fn say(to: &mut impl Write, line: &str) {
    let _ignored = writeln!(to, "{line}").and_then(|()| to.flush());
}
