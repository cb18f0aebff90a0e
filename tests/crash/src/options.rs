//! The options of the suite's command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Injects faults, and checks that nothing is lost, nothing is done twice, and order is kept by key.
///
/// Runs a workload of three contexts, injects one fault in each round, waits until all work is done,
/// and checks every account and every read model. Exits with 1 when a law was broken.
#[derive(Parser)]
#[command(name = "crash", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// Subcommands that the suite starts itself with.
#[derive(Subcommand)]
pub(crate) enum Hidden {
    /// One process of the service under test.
    #[command(hide = true)]
    Worker {
        /// The contexts it hosts.
        #[arg(long, value_delimiter = ',')]
        hosts: Vec<String>,
    },
    /// Looks for leaked leases.
    #[command(hide = true)]
    Inspect,
}

#[derive(Clone, Args)]
pub(crate) struct Options {
    /// How many rounds, each with one fault.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rounds: u64,

    /// Chooses transfers, faults and their moments [default: random, and printed].
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Where the contexts store.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub(crate) store: StoreKind,

    /// What carries their messages.
    #[arg(long, value_enum, default_value = "memory")]
    pub(crate) transport: TransportKind,

    /// An empty database of your own instead of one that the suite makes.
    #[arg(long, value_name = "URL")]
    pub(crate) store_url: Option<String>,

    /// A transport of your own instead of one that the suite makes.
    #[arg(long, value_name = "URL")]
    pub(crate) transport_url: Option<String>,

    /// Also kills and restarts the servers: `./dev servers` must run them for this suite only.
    #[arg(long)]
    pub(crate) restart_servers: bool,

    /// Injects only these kinds of faults, by their names in the last line.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) faults: Vec<String>,

    /// How many transfers each round makes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..=10_000))]
    pub(crate) transfers: u64,

    /// After how many seconds without progress what is missing counts as lost or stuck.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience_s: u64,

    /// Instead of rounds with faults: steady work for this long, watched for leaks.
    ///
    /// It fails when the median of the last quarter has over 16 MiB and 15 % more memory than that of
    /// the second, or over 16 more descriptors.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) minutes: Option<u64>,

    /// The file for the soak's curves.
    #[arg(long, default_value = "target/crash/soak.svg", value_name = "FILE")]
    pub(crate) svg: std::path::PathBuf,

    /// Breaks a law on purpose, to check that the suite notices.
    #[arg(long, hide = true)]
    pub(crate) broken_law: Option<String>,
}

impl Options {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_s)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

impl StoreKind {
    /// How long a silent instance keeps its partitions. A renewal that takes a third of it counts as
    /// failed, and a server on a busy machine is slow.
    pub(crate) fn lease(self) -> Duration {
        match self {
            Self::Sqlite => Duration::from_secs(1),
            Self::Postgres => Duration::from_secs(3),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportKind {
    Memory,
    Rabbitmq,
}
