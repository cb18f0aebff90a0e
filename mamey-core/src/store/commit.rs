//! The port to commits: a unit of work is stored completely or not at all.

use async_trait::async_trait;

use super::UnitOfWork;
use crate::Result;

/// Proof of a commit, for reading one's own writes from a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitToken(u64);

impl CommitToken {
    /// A token of a store's own number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The store's own number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// How a commit ended.
///
/// Exhaustive: whoever commits must decide about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Everything is stored, durably where the store is durable.
    Committed(CommitToken),
    /// The message or the idempotency key took effect before; nothing was stored by this commit.
    Duplicate,
    /// A message of the same lane is parked, so this one must wait behind it; nothing was stored.
    LaneParked,
}

/// Commits units of work.
#[async_trait]
pub trait CommitStore: Send + Sync {
    /// Commits the whole unit or nothing.
    ///
    /// Outbox records of one key get sequences in commit order. Units that are ready together may
    /// share one round trip; a lone unit never waits for company.
    ///
    /// # Errors
    /// `Conflict` for a version or guard that does not hold, `AlreadyExists` for a taken id or
    /// unique field (naming it), `LimitExceeded`. After these nothing is stored. After
    /// `Unavailable` the answer may have been lost: the inbox or the idempotency key then shows
    /// whether the unit is stored.
    ///
    /// # Cancellation
    /// Dropping the future does not stop a commit that has begun; the inbox or the idempotency key
    /// then shows its outcome.
    async fn commit(&self, unit: UnitOfWork) -> Result<CommitOutcome>;
}
