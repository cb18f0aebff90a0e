//! Who holds which partition, and the members of each role.

use std::collections::HashMap;

use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole};

use crate::common::lease_shares::{Shares, count_members, share_out};

/// The leases of one context.
#[derive(Default)]
pub(crate) struct Leases {
    members: HashMap<(LeaseRole, InstanceId), Member>,
    shares: HashMap<LeaseRole, Shares>,
}

/// An instance, until its entry expires.
struct Member {
    partitions: u16,
    expires: Timestamp,
}

impl Leases {
    /// Whether this lease is still held.
    pub(crate) fn is_current(&self, lease: &Lease) -> bool {
        let share =
            self.shares.get(&lease.role).and_then(|shares| shares.get(&lease.partition.number()));
        share.is_some_and(|share| share.is_current(lease))
    }

    pub(crate) fn hold(&mut self, request: &LeaseRequest, now: Timestamp) -> Result<Holdings> {
        let members = self.join(request, now)?;
        let shares = self.shares.entry(request.role).or_default();
        share_out(shares, request, members, now)
    }

    /// Makes the caller a member of its role, and says how many members the role has.
    fn join(&mut self, request: &LeaseRequest, now: Timestamp) -> Result<usize> {
        self.members.retain(|_, member| member.expires > now);
        let others = self
            .members
            .iter()
            .filter(|((role, holder), _)| *role == request.role && *holder != request.holder);
        let members = count_members(request, others.map(|(_, member)| member.partitions))?;
        let member = Member { partitions: request.partitions, expires: now.plus(request.duration) };
        self.members.insert((request.role, request.holder), member);
        Ok(members)
    }

    pub(crate) fn release(&mut self, leases: &[Lease]) {
        for lease in leases {
            let shares = self.shares.entry(lease.role).or_default();
            if let Some(share) = shares.get_mut(&lease.partition.number())
                && share.is_current(lease)
            {
                share.holder = None;
            }
        }
    }

    pub(crate) fn retire(&mut self, role: LeaseRole, holder: InstanceId) {
        self.members.remove(&(role, holder));
        let shares = self.shares.entry(role).or_default();
        for share in shares.values_mut() {
            if share.holder == Some(holder) {
                share.holder = None;
            }
        }
    }
}
