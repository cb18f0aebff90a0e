//! Three builds of one service, from before, during and after a change.

mod account;
mod audit;
mod ledger;
mod messages;
mod till;

use std::time::Duration;

use clap::ValueEnum;
use mamey::{Backoff, BoundedContext, RetryPolicy, Settings};
use serde::{Deserialize, Serialize};

pub(crate) use account::{AccountState, Run, ShowAccounts};
pub(crate) use audit::ShowBooks;
pub(crate) use till::{Burst, ShowSent};

/// A build of the service.
///
/// | | `old` | `expanded` | `contracted` |
/// |---|---|---|---|
/// | contexts | till, ledger | and audit | and audit |
/// | `till.priced` | version 1 | version 2, with a field more; reads both | version 2; reads both |
/// | `till.moved` | one variant | two variants | two variants |
/// | `till.refunded` | | sent and handled | sent and handled |
/// | `till.noted` | sent and handled | sent and handled | ignored |
/// | index of accounts | | by the last number | by the last number |
/// | partitions, lease, poll, drain | 8, 2 s, 60 ms, 8 s | 16, 3 s, 90 ms, 10 s | 16, 2.5 s, 40 ms, 9 s |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Build {
    Old,
    Expanded,
    Contracted,
}

/// Longer than any message waits for a build that reads it.
const RETRY: RetryPolicy = RetryPolicy::new(
    0,
    100_000,
    Backoff::new(Duration::from_millis(20), Duration::from_millis(300)).with_jitter(0.5),
);

impl Build {
    /// Its stable name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::Expanded => "expanded",
            Self::Contracted => "contracted",
        }
    }

    /// What it hosts.
    pub(crate) fn contexts(self) -> Vec<BoundedContext> {
        let mut contexts = vec![till::context(self), ledger::context(self)];
        if self.has_audit() {
            contexts.push(audit::context());
        }
        contexts.into_iter().map(|context| context.retry(RETRY).conflict_retries(50)).collect()
    }

    /// Whether it has the context that was added, the index and the messages of the later builds.
    pub(crate) const fn has_audit(self) -> bool {
        !matches!(self, Self::Old)
    }

    pub(crate) fn settings(self, store: &str, transport: &str) -> Settings {
        let (partitions, lease_ms, poll_ms, drain_s) = match self {
            Self::Old => (8, 2000, 60, 8),
            Self::Expanded => (16, 3000, 90, 10),
            Self::Contracted => (16, 2500, 40, 9),
        };
        Settings::default()
            .with_store_url(store)
            .with_transport_url(transport)
            .with_partitions(partitions)
            .with_lease(Duration::from_millis(lease_ms))
            .with_poll(Duration::from_millis(poll_ms))
            .with_drain(Duration::from_secs(drain_s))
    }

    /// The kinds of messages that it sends, by their letters.
    pub(crate) const fn sends(self) -> &'static [Kind] {
        use Kind::{Charged, MovedSlowly, MovedSwiftly, Noted, Priced, PricedFormerly, Refunded};
        match self {
            Self::Old => &[Charged, Noted, PricedFormerly, MovedSlowly],
            Self::Expanded => &[Charged, Noted, Priced, MovedSlowly, MovedSwiftly, Refunded],
            Self::Contracted => &[Charged, Priced, MovedSlowly, MovedSwiftly, Refunded],
        }
    }
}

/// A kind of message, with the letter that the till remembers it by: every build can read that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Charged,
    Noted,
    PricedFormerly,
    Priced,
    MovedSlowly,
    MovedSwiftly,
    Refunded,
}

impl Kind {
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Charged => 'c',
            Self::Noted => 'n',
            Self::PricedFormerly => 'p',
            Self::Priced => 'P',
            Self::MovedSlowly => 'm',
            Self::MovedSwiftly => 'M',
            Self::Refunded => 'r',
        }
    }
}
