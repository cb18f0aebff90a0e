//! The faults by name, and which of them a pair of store and transport can have.

use std::fmt;
use std::time::Duration;

use crate::options::{StoreKind, TransportKind};

/// The failpoints at which a worker can end itself.
pub(crate) const FAILPOINTS: [&str; 7] = [
    "before-commit",
    "after-commit-before-publish",
    "after-publish-before-delete",
    "after-handler-before-commit",
    "after-commit-before-ack",
    "while-parking",
    "during-replay",
];

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// SIGKILL.
    Kill,
    /// SIGSTOP for longer than the lease, then SIGCONT.
    Freeze,
    /// The connections of one process to a server are reset.
    Cut(Link),
    /// Nothing passes between one process and a server for longer than the lease.
    BlackHole(Link),
    /// A server is killed and started again on its data.
    Restart(Link),
    /// The clock of all processes jumps.
    ClockJump,
    /// Deletions from the outbox arrive after their leases have moved; then all workers are killed.
    LateDelete,
    /// A process ends itself at a failpoint.
    Failpoint(&'static str),
}

/// The link between a process and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Link {
    Store,
    Transport,
}

impl Kind {
    /// The kinds that are possible for a pair, in a fixed order. A kind that is listed twice is dealt
    /// twice as often.
    pub(crate) fn all(store: StoreKind, transport: TransportKind, restarts: bool) -> Vec<Self> {
        let mut kinds =
            vec![Self::Kill, Self::Kill, Self::Freeze, Self::ClockJump, Self::LateDelete];
        kinds.extend(FAILPOINTS.map(Self::Failpoint));
        let mut links = Vec::new();
        if store == StoreKind::Postgres {
            links.push(Link::Store);
        }
        if transport == TransportKind::Rabbitmq {
            links.push(Link::Transport);
        }
        for link in links {
            kinds.extend([Self::Cut(link), Self::BlackHole(link)]);
            if restarts {
                kinds.push(Self::Restart(link));
            }
        }
        kinds
    }
}

/// A context whose processes always pass a failpoint.
pub(crate) fn context_that_passes(point: &str) -> &'static str {
    match point {
        "before-commit" | "after-commit-before-publish" | "after-publish-before-delete" => {
            "accounts"
        }
        _ => "ledger",
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Freeze => f.write_str("freeze"),
            Self::Cut(Link::Store) => f.write_str("cut-store"),
            Self::Cut(Link::Transport) => f.write_str("cut-transport"),
            Self::BlackHole(Link::Store) => f.write_str("black-hole-store"),
            Self::BlackHole(Link::Transport) => f.write_str("black-hole-transport"),
            Self::Restart(Link::Store) => f.write_str("database-restart"),
            Self::Restart(Link::Transport) => f.write_str("broker-restart"),
            Self::ClockJump => f.write_str("clock-jump"),
            Self::LateDelete => f.write_str("late-delete"),
            Self::Failpoint(point) => write!(f, "crash-{point}"),
        }
    }
}

/// One fault, with everything that is random about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Which process it hits, counted modulo those there are.
    pub(crate) target: usize,
    /// After how many answered transfers.
    pub(crate) after_answers: u64,
    /// And how long after that.
    pub(crate) delay: Duration,
    /// How long a freeze, a black hole or an outage lasts.
    pub(crate) lasts: Duration,
    /// By how much the clock jumps.
    pub(crate) jump_ms: i64,
    /// On which pass a failpoint ends the process.
    pub(crate) pass: u32,
}
