//! Shares partitions among the instances that open this database.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{
    Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, LeaseStore, Partition,
};

use super::MemoryStore;
use crate::sharing::{fair_share, other_partition_count};

#[derive(Default)]
pub(super) struct Leases {
    members: HashMap<(LeaseRole, InstanceId), Member>,
    /// By role and number; an entry stays for ever, because its epoch must never come again.
    partitions: BTreeMap<(LeaseRole, u16), Held>,
}

struct Member {
    partitions: u16,
    expires: Timestamp,
}

struct Held {
    partition: Partition,
    holder: Option<InstanceId>,
    epoch: u64,
    expires: Timestamp,
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings> {
        let now = self.shared.clock.now();
        self.state()?.leases.hold(request, now)
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
        let held = self.partitions.get(&(lease.role, lease.partition.number()));
        held.is_some_and(|held| held.partition == lease.partition && held.epoch == lease.epoch)
    }

    fn hold(&mut self, request: LeaseRequest, now: Timestamp) -> Result<Holdings> {
        let all = Partition::all(request.partitions)?;
        let share = self.join(&request, now)?;
        let mut leases = Vec::new();
        for partition in &all {
            leases.extend(self.renew(&request, *partition, now));
        }
        for partition in all {
            if leases.len() >= share {
                break;
            }
            leases.extend(self.take(&request, partition, now));
        }
        leases.sort_by_key(|lease| lease.partition);
        let surplus = leases.len().saturating_sub(share);
        Ok(Holdings { leases, surplus })
    }

    /// Counts the caller among the living and says how many partitions each may hold.
    fn join(&mut self, request: &LeaseRequest, now: Timestamp) -> Result<usize> {
        self.members.retain(|_, member| member.expires > now);
        let of_role = |(role, _): &(LeaseRole, InstanceId)| *role == request.role;
        for (name, member) in &self.members {
            let other = of_role(name) && name.1 != request.holder;
            if other && member.partitions != request.partitions {
                return Err(other_partition_count(request, member.partitions));
            }
        }
        let member = Member {
            partitions: request.partitions,
            expires: now.plus(request.duration),
        };
        self.members.insert((request.role, request.holder), member);
        let living = self.members.keys().filter(|name| of_role(name)).count();
        Ok(fair_share(request.partitions, living))
    }

    fn renew(
        &mut self,
        request: &LeaseRequest,
        partition: Partition,
        now: Timestamp,
    ) -> Option<Lease> {
        let held = self
            .partitions
            .get_mut(&(request.role, partition.number()))?;
        if held.holder != Some(request.holder) || held.partition != partition {
            return None;
        }
        held.expires = now.plus(request.duration);
        Some(held.lease(request.role))
    }

    fn take(
        &mut self,
        request: &LeaseRequest,
        partition: Partition,
        now: Timestamp,
    ) -> Option<Lease> {
        let held = self
            .partitions
            .entry((request.role, partition.number()))
            .or_insert(Held {
                partition,
                holder: None,
                epoch: 0,
                expires: now,
            });
        let ours = held.holder == Some(request.holder) && held.partition == partition;
        let free = held.holder.is_none() || held.expires <= now || held.partition != partition;
        if ours || !free {
            return None;
        }
        *held = Held {
            partition,
            holder: Some(request.holder),
            epoch: held.epoch + 1,
            expires: now.plus(request.duration),
        };
        Some(held.lease(request.role))
    }

    fn release(&mut self, leases: &[Lease]) {
        for lease in leases {
            if self.is_current(lease)
                && let Some(held) = self
                    .partitions
                    .get_mut(&(lease.role, lease.partition.number()))
            {
                held.holder = None;
            }
        }
    }

    fn retire(&mut self, role: LeaseRole, holder: InstanceId) {
        self.members.remove(&(role, holder));
        for ((held_for, _), held) in &mut self.partitions {
            if *held_for == role && held.holder == Some(holder) {
                held.holder = None;
            }
        }
    }
}

impl Held {
    fn lease(&self, role: LeaseRole) -> Lease {
        Lease {
            role,
            partition: self.partition,
            epoch: self.epoch,
        }
    }
}
