//! Shares partitions among the instances that open this database.

use std::collections::HashMap;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, LeaseStore};

use super::MemoryStore;
use crate::common::lease_shares::{Shares, other_partition_count, share_out};

#[derive(Default)]
pub(super) struct Leases {
    members: HashMap<(LeaseRole, InstanceId), Member>,
    shares: HashMap<LeaseRole, Shares>,
}

struct Member {
    partitions: u16,
    expires: Timestamp,
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings> {
        let now = self.shared.clock.now();
        self.state()?.leases.hold(&request, now)
    }

    async fn release_leases(&self, leases: &[Lease]) -> Result<()> {
        self.state()?.leases.release(leases);
        Ok(())
    }

    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()> {
        self.state()?.leases.retire(role, holder);
        Ok(())
    }
}

impl Leases {
    /// Whether the partition has not changed hands since this lease was given.
    pub(super) fn is_current(&self, lease: &Lease) -> bool {
        let share =
            self.shares.get(&lease.role).and_then(|shares| shares.get(&lease.partition.number()));
        share.is_some_and(|share| share.is_current(lease))
    }

    fn hold(&mut self, request: &LeaseRequest, now: Timestamp) -> Result<Holdings> {
        let living = self.join(request, now)?;
        let shares = self.shares.entry(request.role).or_default();
        share_out(shares, request, living, now)
    }

    /// Counts the caller among the living of its role, and says how many they are.
    fn join(&mut self, request: &LeaseRequest, now: Timestamp) -> Result<usize> {
        self.members.retain(|_, member| member.expires > now);
        let others = self
            .members
            .iter()
            .filter(|((role, holder), _)| *role == request.role && *holder != request.holder);
        let mut living = 1;
        for (_, member) in others {
            if member.partitions != request.partitions {
                return Err(other_partition_count(request, member.partitions));
            }
            living += 1;
        }
        let member = Member { partitions: request.partitions, expires: now.plus(request.duration) };
        self.members.insert((request.role, request.holder), member);
        Ok(living)
    }

    fn release(&mut self, leases: &[Lease]) {
        for lease in leases {
            let shares = self.shares.entry(lease.role).or_default();
            if let Some(share) = shares.get_mut(&lease.partition.number())
                && share.is_current(lease)
            {
                share.holder = None;
            }
        }
    }

    fn retire(&mut self, role: LeaseRole, holder: InstanceId) {
        self.members.remove(&(role, holder));
        let shares = self.shares.entry(role).or_default();
        for share in shares.values_mut() {
            if share.holder == Some(holder) {
                share.holder = None;
            }
        }
    }
}
