//! How partitions are shared among instances: the rules that every store follows.

use std::collections::BTreeMap;

use mamey_core::clock::Timestamp;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, Partition};
use mamey_core::{Error, Result};

/// The partitions of one role by number. An entry stays for ever, because its epoch must never
/// come again.
pub(crate) type Shares = BTreeMap<u16, Share>;

/// Who holds one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) partition: Partition,
    pub(crate) holder: Option<InstanceId>,
    pub(crate) epoch: u64,
    pub(crate) expires: Timestamp,
}

/// Renews what the caller holds, and takes free or expired partitions up to its fair share: all
/// partitions divided by the living instances, rounded up.
pub(crate) fn share_out(
    shares: &mut Shares,
    request: &LeaseRequest,
    living: usize,
    now: Timestamp,
) -> Result<Holdings> {
    let all = Partition::all(request.partitions)?;
    let fair = usize::from(request.partitions).div_ceil(living.max(1));
    let expires = now.plus(request.duration);
    let mut leases = Vec::new();
    for share in shares.values_mut() {
        if share.is_held_by(request) {
            share.expires = expires;
            leases.push(share.lease(request.role));
        }
    }
    for partition in all {
        if leases.len() >= fair {
            break;
        }
        let share = shares.entry(partition.number()).or_insert_with(|| Share::free(partition));
        if share.is_free(request, now) {
            share.partition = partition;
            share.holder = Some(request.holder);
            share.epoch += 1;
            share.expires = expires;
            leases.push(share.lease(request.role));
        }
    }
    leases.sort_by_key(|lease| lease.partition);
    let surplus = leases.len().saturating_sub(fair);
    Ok(Holdings { leases, surplus })
}

/// A slot must mean one partition to everyone, so two counts cannot live side by side.
pub(crate) fn other_partition_count(request: &LeaseRequest, other: u16) -> Error {
    let role = request.role.as_str();
    Error::misconfigured(format!(
        "this instance uses {} partitions as {role}, while a living one uses {other}: \
         give all instances one number, and change it only while none runs",
        request.partitions
    ))
}

impl Share {
    fn free(partition: Partition) -> Self {
        Self { partition, holder: None, epoch: 0, expires: Timestamp::EPOCH }
    }

    fn is_held_by(&self, request: &LeaseRequest) -> bool {
        self.holder == Some(request.holder) && self.partition.of() == request.partitions
    }

    /// Another count of partitions comes from instances that are gone: nobody mixes two.
    fn is_free(&self, request: &LeaseRequest, now: Timestamp) -> bool {
        let given_up = self.holder.is_none() || self.expires <= now;
        !self.is_held_by(request) && (given_up || self.partition.of() != request.partitions)
    }

    /// Whether the partition has not changed hands since this lease was given.
    #[cfg(feature = "memory")]
    pub(crate) fn is_current(&self, lease: &Lease) -> bool {
        self.partition == lease.partition && self.epoch == lease.epoch
    }

    fn lease(&self, role: LeaseRole) -> Lease {
        Lease { role, partition: self.partition, epoch: self.epoch }
    }
}
