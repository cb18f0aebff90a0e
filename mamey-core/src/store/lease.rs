//! The port to leases: which instance works on which partition, fenced by epochs.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::message::SLOTS;
use crate::{Error, Result};

/// A share of the keys: every slot whose number leaves `number` when divided by `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    number: u16,
    of: u16,
}

impl Partition {
    /// Partition `number` of `of`.
    ///
    /// # Errors
    /// `Misconfigured` unless `of` is from 1 to [`SLOTS`] and `number` below it.
    pub fn new(number: u16, of: u16) -> Result<Self> {
        if of == 0 || of > SLOTS || number >= of {
            return Err(Error::misconfigured(format!(
                "there is no partition {number} of {of}: use 1 to {SLOTS} partitions"
            )));
        }
        Ok(Self { number, of })
    }

    /// All partitions of a context that has `of` of them.
    ///
    /// # Errors
    /// `Misconfigured` unless `of` is from 1 to [`SLOTS`].
    pub fn all(of: u16) -> Result<Vec<Self>> {
        Self::new(0, of)?;
        Ok((0..of).map(|number| Self { number, of }).collect())
    }

    /// The partition that a slot falls into.
    ///
    /// # Errors
    /// `Misconfigured` unless `of` is from 1 to [`SLOTS`].
    pub fn of_slot(slot: u16, of: u16) -> Result<Self> {
        Self::new(slot.checked_rem(of).unwrap_or_default(), of)
    }

    /// Its number, counted from 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn of(self) -> u16 {
        self.of
    }

    /// Whether a slot falls into this partition.
    #[must_use]
    pub const fn contains(self, slot: u16) -> bool {
        slot % self.of == self.number
    }

    /// The slots of this partition, ascending.
    pub fn slots(self) -> impl Iterator<Item = u16> {
        (self.number..SLOTS).step_by(usize::from(self.of))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_slot_falls_into_exactly_one_partition(of in 1..=SLOTS, slot in 0..SLOTS) {
            let holding: Vec<_> =
                Partition::all(of).unwrap().into_iter().filter(|p| p.contains(slot)).collect();
            prop_assert_eq!(&holding, &[Partition::of_slot(slot, of).unwrap()]);
            prop_assert!(holding[0].slots().any(|s| s == slot));
        }

        #[test]
        fn partitions_are_as_even_as_can_be(of in 1..=SLOTS) {
            let sizes = Partition::all(of).unwrap().into_iter().map(|p| p.slots().count());
            let least = usize::from(SLOTS / of);
            prop_assert!(sizes.into_iter().all(|size| size == least || size == least + 1));
        }
    }

    #[test]
    fn impossible_partitions_are_refused() {
        for (number, of) in [(0, 0), (1, 1), (0, SLOTS + 1)] {
            assert!(Partition::new(number, of).is_err());
        }
        assert!(Partition::of_slot(3, 0).is_err());
    }
}
