//! The port to the number of partitions, on which the instances of a context agree.

use std::time::Duration;

use async_trait::async_trait;

use super::InstanceId;
use crate::Result;

/// Over how many partitions the work of a context is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partitioning {
    /// The number in force: instances hold leases of so many partitions.
    pub partitions: u16,
    /// How far a change to or from another number is.
    pub phase: Phase,
}

/// How far a change of the number of partitions is.
///
/// Exhaustive: an instance that misses one would work on partitions that others have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no change. Before the last one it was `former`, whose queues may still be there.
    Stable {
        /// The number before, until its queues are deleted.
        former: Option<u16>,
    },
    /// Messages are led to partitions of another number. Instances go on with the number in force until
    /// nothing waits in its partitions.
    Draining {
        /// The other number.
        to: u16,
    },
    /// The number in force is new, and instances wait until it is certain that all have left the
    /// partitions of the number before, and that nothing waits there.
    Settling {
        /// The number before.
        from: u16,
    },
}

impl Partitioning {
    /// This number in force.
    #[must_use]
    pub const fn new(partitions: u16, phase: Phase) -> Self {
        Self { partitions, phase }
    }

    /// The number of partitions that messages are led to.
    #[must_use]
    pub const fn receiving(self) -> u16 {
        match self.phase {
            Phase::Stable { .. } | Phase::Settling { .. } => self.partitions,
            Phase::Draining { to } => to,
        }
    }

    /// The number of the partitions that messages were led to before and may wait in.
    #[must_use]
    pub const fn draining(self) -> Option<u16> {
        match self.phase {
            Phase::Stable { .. } => None,
            Phase::Draining { .. } => Some(self.partitions),
            Phase::Settling { from } => Some(from),
        }
    }
}

impl Phase {
    /// The phase's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable { .. } => "stable",
            Self::Draining { .. } => "draining",
            Self::Settling { .. } => "settling",
        }
    }

    /// The number beside the one in force.
    #[must_use]
    pub const fn other(self) -> Option<u16> {
        match self {
            Self::Stable { former } => former,
            Self::Draining { to: other } | Self::Settling { from: other } => Some(other),
        }
    }

    /// The phase of this stable name, with this number beside the one in force; `None` if there is no
    /// such phase.
    #[must_use]
    pub fn parse(name: &str, other: Option<u16>) -> Option<Self> {
        match (name, other) {
            ("stable", former) => Some(Self::Stable { former }),
            ("draining", Some(to)) => Some(Self::Draining { to }),
            ("settling", Some(from)) => Some(Self::Settling { from }),
            _ => None,
        }
    }
}

/// An instance that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The instance.
    pub holder: InstanceId,
    /// Over how many partitions it works.
    pub partitions: u16,
    /// Over how many it is set to work.
    pub wanted: u16,
}

impl Member {
    /// An instance that works over `partitions` and is set to work over `wanted`.
    #[must_use]
    pub const fn new(holder: InstanceId, partitions: u16, wanted: u16) -> Self {
        Self { holder, partitions, wanted }
    }
}

/// Remembers over how many partitions the work of a context is spread.
#[async_trait]
pub trait PartitioningStore: Send + Sync {
    /// What is in force, and for how long it has been so by the store's clock. The first call of all
    /// sets it to `first`.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn partitioning(&self, first: u16) -> Result<(Partitioning, Duration)>;

    /// Changes what is in force; false, and no change, when it is not `from` any more.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn change_partitioning(&self, from: Partitioning, to: Partitioning) -> Result<bool>;

    /// The instances that relay or consume, once for each of the two roles.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn members(&self) -> Result<Vec<Member>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_read_as_it_was_written() {
        for phase in [
            Phase::Stable { former: None },
            Phase::Stable { former: Some(8) },
            Phase::Draining { to: 16 },
            Phase::Settling { from: 8 },
        ] {
            assert_eq!(Phase::parse(phase.as_str(), phase.other()), Some(phase));
        }
        assert_eq!(Phase::parse("draining", None), None);
        assert_eq!(Phase::parse("unknown", Some(1)), None);
    }

    #[test]
    fn messages_go_to_the_other_partitions_while_these_are_drained() {
        for (phase, receiving, draining) in [
            (Phase::Stable { former: Some(4) }, 8, None),
            (Phase::Draining { to: 16 }, 16, Some(8)),
            (Phase::Settling { from: 4 }, 8, Some(4)),
        ] {
            let partitioning = Partitioning::new(8, phase);
            assert_eq!(partitioning.receiving(), receiving);
            assert_eq!(partitioning.draining(), draining);
        }
    }
}
