//! The workload: accounts that trade money, a ledger that books each move, and an audit of both.

pub(crate) mod accounts;
pub(crate) mod audit;
mod book;
pub(crate) mod ledger;
mod trials;

use std::time::Duration;

use mamey::{Backoff, BoundedContext, RetryPolicy};

#[cfg(test)]
pub(crate) use book::Run;
pub(crate) use book::{Book, Shelf, ShowBooks};
pub(crate) use trials::{EndedRun, Report, Trials, Witness};

/// The contexts by name, in the order in which they are started.
pub(crate) const CONTEXTS: [&str; 3] = ["accounts", "ledger", "audit"];

/// Short pauses and many retries: a message that is meant to fail a few times must not become a dead
/// letter.
const RETRY: RetryPolicy = RetryPolicy::new(
    0,
    10_000,
    Backoff::new(Duration::from_millis(20), Duration::from_millis(200)).with_jitter(0.5),
);

/// The context of this name.
pub(crate) fn context(name: &str, trials: &Trials) -> Option<BoundedContext> {
    let context = match name {
        "accounts" => accounts::context(),
        "ledger" => ledger::context(trials),
        "audit" => audit::context(trials),
        _ => return None,
    };
    Some(context.retry(RETRY).layer(Witness(trials.clone())))
}
