//! The rehearsal: deploys and rolls back builds of one service under load, and checks every effect.
//!
//! `./dev rehearse --help` lists its options. It starts itself again as the processes of the service.

mod builds;
mod error;
mod fleet;
mod place;
mod plan;
mod process;
mod protocol;
mod round;
mod verdict;
mod worker;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use fastrand::Rng;
use serde::Serialize;

use crate::builds::Build;
use crate::error::Result;
use crate::place::{Pair, Place};
use crate::round::Outcome;
use crate::verdict::Verdict;

/// Deploys a service in two steps and rolls it back, while messages are sent, and checks that each took
/// effect once and in order.
///
/// Between the builds an index, an event, a version, a variant and a context are added, a handler is
/// removed, and the numbers of partitions and the times change. Some processes are shut down, some are
/// killed. Each round has an empty database and broker. Exits with 1 when a law was broken.
#[derive(Parser)]
#[command(name = "rehearse", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    #[command(flatten)]
    options: Options,
}

/// Subcommands that the rehearsal starts itself with.
#[derive(Subcommand)]
enum Hidden {
    /// One process of the service.
    #[command(hide = true)]
    Worker {
        #[arg(long, value_enum)]
        build: Build,
        #[arg(long)]
        store: String,
        #[arg(long)]
        transport: String,
    },
}

#[derive(Args)]
struct Options {
    /// How many rounds on each pair.
    #[arg(long, default_value_t = 1)]
    rounds: u64,

    /// Chooses the steps, their moments and the messages [default: random, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// Stores and transports [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    pairs: Vec<Pair>,

    /// About how many messages each round sends.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    messages: u32,
}

/// What all rounds have shown, for programs.
#[derive(Default, Serialize)]
struct Summary {
    rounds: u64,
    messages: u64,
    broken_rounds: u64,
    /// How many messages each build has handled.
    handled_by: BTreeMap<String, u64>,
    /// The first verdict that is not clean.
    broken: Option<Verdict>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let outcome = match cli.hidden {
        Some(Hidden::Worker { build, store, transport }) => {
            let worked = Box::pin(worker::work(build, &store, &transport)).await;
            worked.map(|()| true).map_err(Into::into)
        }
        None => Box::pin(rehearse(&cli.options)).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Whether all laws held.
async fn rehearse(options: &Options) -> Result<bool> {
    let mut summary = Summary::default();
    let mut rng = options.seed.map_or_else(Rng::new, Rng::with_seed);
    let all =
        [Pair::PostgresRabbitmq, Pair::PostgresMemory, Pair::SqliteRabbitmq, Pair::SqliteMemory];
    let pairs = if options.pairs.is_empty() { &all[..] } else { &options.pairs };
    for round in 0..options.rounds {
        for pair in pairs {
            // The first round has the seed itself, so that a round can be played again alone.
            let seed = options.seed.filter(|_| round == 0).unwrap_or_else(|| rng.u64(..));
            play(*pair, seed, options.messages, &mut summary).await?;
        }
    }
    say(&mut std::io::stdout(), &serde_json::to_string(&summary).unwrap_or_default());
    Ok(summary.broken_rounds == 0)
}

/// Plays a round and prints a line about it.
async fn play(pair: Pair, seed: u64, messages: u32, summary: &mut Summary) -> Result<()> {
    let (began, mut place) = (Instant::now(), Place::prepare(pair).await?);
    let head = format!("--pairs {} --seed {seed}", pair.as_str());
    say(&mut std::io::stdout(), &format!("{head} begins"));
    let played = round::play(pair, &place, seed, messages).await;
    let is_clean = played.as_ref().is_ok_and(|outcome| outcome.verdict.is_clean());
    if !is_clean {
        let kept = place.keep_logs().display();
        say(&mut std::io::stdout(), &format!("the logs of the processes are in {kept}"));
    }
    let Outcome { verdict, messages, by, reasons, settled_in } = played?;
    let (seconds, settled_ms) = (began.elapsed().as_secs(), settled_in.as_millis());
    let line = format!(
        "{head}: {messages} messages, handled by {by:?}, {seconds} s, settled in {settled_ms} ms: \
         {verdict}"
    );
    say(&mut std::io::stdout(), &line);
    reasons.iter().for_each(|reason| say(&mut std::io::stdout(), &format!("  {reason}")));
    summary.rounds += 1;
    summary.messages += messages;
    for (build, count) in by {
        *summary.handled_by.entry(build).or_default() += count;
    }
    if !is_clean {
        summary.broken_rounds += 1;
        summary.broken.get_or_insert(verdict);
    }
    Ok(())
}

/// To standard error, because standard output carries the protocol.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MAMEY_REHEARSAL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Prints one line; an error, such as a closed pipe, is ignored.
fn say(to: &mut impl Write, line: &str) {
    let _ignored = writeln!(to, "{line}").and_then(|()| to.flush());
}
