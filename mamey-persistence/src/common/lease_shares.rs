//! Shares partitions among instances, by the rules that every store follows.

use std::collections::BTreeMap;

use mamey_core::clock::Timestamp;
use mamey_core::message::Partition;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest};
use mamey_core::{Error, Result};

/// The partitions of one role by number. An entry is never removed, because an epoch must not be
/// used twice.
pub(crate) type Shares = BTreeMap<u16, Share>;

/// Who holds one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) partition: Partition,
    pub(crate) holder: Option<InstanceId>,
    pub(crate) epoch: u64,
    pub(crate) expires: Timestamp,
}

/// Renews what the caller holds, and gives it free or expired partitions up to its fair share: all
/// partitions divided by the members of the role, rounded up.
pub(crate) fn share_out(
    shares: &mut Shares,
    request: &LeaseRequest,
    members: usize,
    now: Timestamp,
) -> Result<Holdings> {
    let all = Partition::all(request.partitions)?;
    let fair = usize::from(request.partitions).div_ceil(members.max(1));
    let expires = now.plus(request.duration);
    let mut leases = Vec::new();
    for share in shares.values_mut() {
        if share.is_held_by(request) {
            share.expires = expires;
            leases.push(share.lease(request));
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
            leases.push(share.lease(request));
        }
    }
    leases.sort_by_key(|lease| lease.partition);
    let surplus = leases.len().saturating_sub(fair);
    Ok(Holdings::new(leases, surplus))
}

/// How many members a role has: the caller and `others`, given by their numbers of partitions.
///
/// # Errors
/// `Misconfigured` when one of them divides the slots into another number of partitions: a slot
/// must belong to the same partition for all instances.
pub(crate) fn count_members(
    request: &LeaseRequest,
    others: impl IntoIterator<Item = u16>,
) -> Result<usize> {
    let mut members = 1;
    for partitions in others {
        if partitions != request.partitions {
            return Err(other_partition_count(request, partitions));
        }
        members += 1;
    }
    Ok(members)
}

/// The refusal of an instance that uses another number of partitions than another member.
fn other_partition_count(request: &LeaseRequest, other: u16) -> Error {
    let role = request.role.as_str();
    Error::misconfigured(format!(
        "this instance uses {} partitions as {role}, while another member uses {other}: \
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

    /// A share of another number of partitions is free: `count_members` has made sure that no other
    /// member uses that number.
    fn is_free(&self, request: &LeaseRequest, now: Timestamp) -> bool {
        let given_up = self.holder.is_none() || self.expires <= now;
        !self.is_held_by(request) && (given_up || self.partition.of() != request.partitions)
    }

    /// Whether this lease is still held.
    #[cfg(feature = "memory")]
    pub(crate) fn is_current(&self, lease: &Lease) -> bool {
        let held = (self.partition, self.epoch, self.holder);
        held == (lease.partition, lease.epoch, Some(lease.holder))
    }

    fn lease(&self, request: &LeaseRequest) -> Lease {
        Lease::new(request.role, self.partition, self.epoch, request.holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::store::LeaseRole;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::time::Duration;
    use uuid::Uuid;

    const PARTITIONS: u16 = 6;
    const INSTANCES: u8 = 4;
    const DURATION: Duration = Duration::from_secs(10);

    #[derive(Clone, Debug)]
    enum Step {
        /// An instance asks, while the role has so many members.
        Hold(u8, usize),
        /// An instance releases its first leases.
        Release(u8, usize),
        Pass(Duration),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let members = 0..=usize::from(INSTANCES);
        let step = prop_oneof![
            4 => (0..INSTANCES, members).prop_map(|(who, members)| Step::Hold(who, members)),
            1 => (0..INSTANCES, 0..3_usize).prop_map(|(who, many)| Step::Release(who, many)),
            2 => (0_u64..15).prop_map(|s| Step::Pass(Duration::from_secs(s))),
        ];
        prop::collection::vec(step, 0..80)
    }

    fn request(who: u8) -> LeaseRequest {
        let holder = InstanceId::new(Uuid::from_u128(who.into()));
        LeaseRequest::new(LeaseRole::Relay, holder, PARTITIONS, DURATION)
    }

    /// What each instance believes to hold, and until when.
    #[derive(Default)]
    struct Model {
        shares: Shares,
        now: Timestamp,
        believed: HashMap<u8, (Vec<Lease>, Timestamp)>,
        last_epoch: HashMap<Partition, (u64, u8)>,
    }

    impl Model {
        fn hold(&mut self, who: u8, members: usize) -> Result<Holdings, TestCaseError> {
            let holdings = share_out(&mut self.shares, &request(who), members, self.now).unwrap();
            let fair = usize::from(PARTITIONS).div_ceil(members.max(1));
            prop_assert_eq!(holdings.surplus, holdings.leases.len().saturating_sub(fair));
            for lease in &holdings.leases {
                let last = self.last_epoch.insert(lease.partition, (lease.epoch, who));
                // An epoch belongs to one instance only.
                let alone = last.is_none_or(|(epoch, by)| {
                    lease.epoch > epoch || lease.epoch == epoch && by == who
                });
                prop_assert!(alone, "{:?} after {:?}", lease, last);
            }
            self.believed.insert(who, (holdings.leases.clone(), self.now.plus(DURATION)));
            Ok(holdings)
        }

        fn release(&mut self, who: u8, many: usize) {
            let Some((leases, _)) = self.believed.get_mut(&who) else { return };
            for lease in leases.drain(..many.min(leases.len())) {
                let share = self.shares.get_mut(&lease.partition.number()).unwrap();
                if share.epoch == lease.epoch {
                    share.holder = None;
                }
            }
        }

        fn check(&self) -> Result<(), TestCaseError> {
            let valid = self.believed.values().filter(|(_, until)| self.now < *until);
            let mut held: Vec<_> = valid.flat_map(|(leases, _)| leases).collect();
            held.sort_by_key(|lease| lease.partition);
            let twice = held.windows(2).find(|two| two[0].partition == two[1].partition);
            prop_assert!(twice.is_none(), "held twice: {:?}", twice);
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn no_partition_is_held_twice_and_all_find_a_fair_holder(
            steps in steps(), members in 1..=INSTANCES,
        ) {
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Hold(who, members) => drop(model.hold(who, members)?),
                    Step::Release(who, many) => model.release(who, many),
                    Step::Pass(time) => model.now = model.now.plus(time),
                }
                model.check()?;
            }
            // The leases of the others run out; the members release their surplus.
            model.now = model.now.plus(DURATION);
            let mut shared = Vec::new();
            for _round in 0..2 {
                shared.clear();
                for who in 0..members {
                    let surplus = model.hold(who, members.into())?.surplus;
                    model.release(who, surplus);
                    shared.push(model.believed[&who].0.len());
                }
                model.check()?;
            }
            let fair = usize::from(PARTITIONS).div_ceil(members.into());
            prop_assert!(shared.iter().all(|held| *held <= fair), "{:?}", shared);
            prop_assert_eq!(shared.iter().sum::<usize>(), usize::from(PARTITIONS));
        }
    }
}
