//! The port to leases: which instance works on which partition, fenced by epochs.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::Result;
use crate::message::Partition;

/// One running instance of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(Uuid);

impl InstanceId {
    /// The instance that this UUID names.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a partition is leased for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Lease {
    /// The purpose.
    pub role: LeaseRole,
    /// Which partition.
    pub partition: Partition,
    /// Raised each time the partition moves to another instance: work under an older epoch is void.
    pub epoch: u64,
    /// Who holds it. After a restore of the database two instances may hold leases of one epoch.
    pub holder: InstanceId,
}

impl Lease {
    /// The right of `holder` to work on `partition`.
    #[must_use]
    pub const fn new(
        role: LeaseRole,
        partition: Partition,
        epoch: u64,
        holder: InstanceId,
    ) -> Self {
        Self { role, partition, epoch, holder }
    }
}

/// A request for a fair share of the partitions.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// The purpose.
    pub role: LeaseRole,
    /// Who asks.
    pub holder: InstanceId,
    /// How many partitions there are in all.
    pub partitions: u16,
    /// How long the leases last, by the database's clock. Measure it with a local monotonic clock
    /// that starts before the call, and stop working when it has passed.
    pub duration: Duration,
}

impl LeaseRequest {
    /// A request by `holder` for its share of `partitions`.
    #[must_use]
    pub const fn new(
        role: LeaseRole,
        holder: InstanceId,
        partitions: u16,
        duration: Duration,
    ) -> Self {
        Self { role, holder, partitions, duration }
    }

    /// The same request for another role.
    #[must_use]
    pub const fn with_role(mut self, role: LeaseRole) -> Self {
        self.role = role;
        self
    }

    /// The same request by another instance.
    #[must_use]
    pub const fn with_holder(mut self, holder: InstanceId) -> Self {
        self.holder = holder;
        self
    }

    /// The same request for another time.
    #[must_use]
    pub const fn with_duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }
}

/// What an instance holds after a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// Its leases, all just renewed.
    pub leases: Vec<Lease>,
    /// How many of them exceed its fair share: finish their work, then release them.
    pub surplus: usize,
}

impl Holdings {
    /// These leases, `surplus` of which are more than a fair share.
    #[must_use]
    pub const fn new(leases: Vec<Lease>, surplus: usize) -> Self {
        Self { leases, surplus }
    }
}

/// Shares partitions among instances.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Counts `holder` as alive, renews its leases, and takes free or expired partitions up to its
    /// fair share: all partitions divided by the instances that are alive, rounded up.
    ///
    /// After the first call of a new instance, the other instances find a surplus.
    ///
    /// # Errors
    /// `Misconfigured` when other instances that are alive use another number of partitions; `Unavailable` and
    /// the like.
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings>;

    /// Releases leases at once. Leases with an outdated epoch or of another holder are ignored.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store; they then expire by themselves.
    async fn release_leases(&self, leases: &[Lease]) -> Result<()>;

    /// Stops counting the instance as alive in a role, so that the others' share grows at once, and
    /// releases all its leases.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store; it then expires by itself.
    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()>;
}
