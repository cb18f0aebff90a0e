//! The port to leases: which instance works on which partition, fenced by epochs.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::Result;
use crate::message::Partition;

/// One running instance of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(pub Uuid);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a partition is leased for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseRole {
    /// Publishing from the outbox.
    Relay,
    /// Consuming and retrying.
    Consumer,
}

impl LeaseRole {
    /// The role's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Consumer => "consumer",
        }
    }
}

/// The right to work on a partition, until it expires or is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// What for.
    pub role: LeaseRole,
    /// Which partition.
    pub partition: Partition,
    /// Raised each time the partition changes hands: work under an older epoch is void.
    pub epoch: u64,
}

/// Asks for a fair share of the partitions.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest {
    /// What for.
    pub role: LeaseRole,
    /// Who asks.
    pub holder: InstanceId,
    /// How many partitions there are in all.
    pub partitions: u16,
    /// How long the leases hold, by the database's clock. Count it by a local monotonic clock from
    /// before the call, and stop working when it is over.
    pub duration: Duration,
}

/// What an instance holds after asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Its leases, all of them renewed just now.
    pub leases: Vec<Lease>,
    /// How many of them are more than its fair share: finish their work, then release them.
    pub surplus: usize,
}

/// Shares partitions among instances.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Shows that `holder` lives, renews what it holds, and takes free or expired partitions up
    /// to its fair share: all partitions divided by the living instances, rounded up.
    ///
    /// The first call of a new instance counts it; the others then find a surplus.
    ///
    /// # Errors
    /// `Misconfigured` when living instances use another number of partitions; `Unavailable` and
    /// the like.
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings>;

    /// Gives leases back at once. Those that moved to another epoch are left alone.
    ///
    /// # Errors
    /// `Unavailable` and the like; they then expire by themselves.
    async fn release_leases(&self, leases: &[Lease]) -> Result<()>;

    /// Takes the instance off the list of the living for a role, so that the others' share grows
    /// at once; releases all it holds.
    ///
    /// # Errors
    /// `Unavailable` and the like; it then expires by itself.
    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()>;
}
