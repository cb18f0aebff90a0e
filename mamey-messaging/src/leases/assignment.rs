//! Which partitions an instance works on, and which of them it is about to release.

use std::collections::BTreeMap;

use mamey_core::message::Partition;
use mamey_core::store::Lease;

use super::held::Tenure;

/// The partitions of one instance. Plain data: the driver passes it what the store answered.
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    leases: BTreeMap<Partition, Assigned>,
}

#[derive(Debug)]
struct Assigned {
    tenure: Tenure,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// New work may begin.
    Active,
    /// Its work is being finished, then it is released.
    Draining,
    /// It is being released. A renewal may still show it as held, but nothing may begin.
    Released,
}

/// What a renewal changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Partitions to work on from now on.
    pub(crate) gained: Vec<Lease>,
    /// Partitions that another instance may work on: begin nothing more there.
    pub(crate) lost: Vec<Lease>,
    /// Partitions to finish, because others have too few.
    pub(crate) draining: Vec<Lease>,
}

impl Assignment {
    /// Applies what is held now.
    pub(crate) fn update(&mut self, held: &[Tenure], surplus: usize) -> Changes {
        let mut changes = Changes::default();
        self.leases.retain(|_, assigned| {
            let kept = held.contains(&assigned.tenure);
            if !kept {
                changes.lost.push(assigned.tenure.lease);
            }
            kept
        });
        for tenure in held {
            self.leases.entry(tenure.lease.partition).or_insert_with(|| {
                changes.gained.push(tenure.lease);
                Assigned { tenure: *tenure, stage: Stage::Active }
            });
        }
        changes.draining = self.drain(surplus);
        changes
    }

    /// Marks the last partitions, so that each renewal with the same surplus marks the same ones.
    fn drain(&mut self, surplus: usize) -> Vec<Lease> {
        let leaving = |assigned: &&Assigned| assigned.stage != Stage::Active;
        let more = surplus.saturating_sub(self.leases.values().filter(leaving).count());
        let active = |assigned: &&mut Assigned| assigned.stage == Stage::Active;
        let mark = |assigned: &mut Assigned| {
            assigned.stage = Stage::Draining;
            assigned.tenure.lease
        };
        let last_first = self.leases.values_mut().rev();
        last_first.filter(active).take(more).map(mark).collect()
    }

    /// The lease under which new work on a partition may begin.
    pub(crate) fn active(&self, partition: Partition) -> Option<Lease> {
        let assigned = self.leases.get(&partition)?;
        (assigned.stage == Stage::Active).then_some(assigned.tenure.lease)
    }

    /// All leases under which new work may begin.
    pub(crate) fn all_active(&self) -> Vec<Lease> {
        let active = |assigned: &&Assigned| assigned.stage == Stage::Active;
        let assigned = self.leases.values().filter(active);
        assigned.map(|assigned| assigned.tenure.lease).collect()
    }

    /// The draining leases whose work is finished, each once.
    pub(crate) fn take_drained(&mut self, busy: impl Fn(Partition) -> bool) -> Vec<Lease> {
        let mut drained = Vec::new();
        for (partition, assigned) in &mut self.leases {
            if assigned.stage == Stage::Draining && !busy(*partition) {
                assigned.stage = Stage::Released;
                drained.push(assigned.tenure.lease);
            }
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::id::MessageId;
    use mamey_core::store::{InstanceId, LeaseRole};
    use proptest::prelude::*;

    fn lease(number: u16, epoch: u64) -> Lease {
        let holder = InstanceId::new(MessageId::from_foreign("instances", "1").as_uuid());
        Lease::new(LeaseRole::Relay, Partition::new(number, 4).unwrap(), epoch, holder)
    }

    fn held(number: u16, epoch: u64) -> Tenure {
        Tenure { lease: lease(number, epoch), number: 1 }
    }

    #[test]
    fn a_lease_of_another_epoch_is_lost_and_gained() {
        let mut assignment = Assignment::default();
        assert_eq!(assignment.update(&[held(0, 1)], 0).gained, [lease(0, 1)]);
        let changes = assignment.update(&[held(0, 3)], 0);
        assert_eq!(changes.lost, [lease(0, 1)]);
        assert_eq!(changes.gained, [lease(0, 3)]);
        assert_eq!(assignment.update(&[held(0, 3)], 0), Changes::default());
    }

    #[test]
    fn a_surplus_is_drained_once_and_released_when_it_is_idle() {
        let mut assignment = Assignment::default();
        let all: Vec<_> = (0..4).map(|number| held(number, 1)).collect();
        assert_eq!(assignment.update(&all, 2).draining, [lease(3, 1), lease(2, 1)]);
        assert!(assignment.update(&all, 2).draining.is_empty());
        assert_eq!(assignment.all_active(), [lease(0, 1), lease(1, 1)]);
        let busy = |partition: Partition| partition.number() == 3;
        assert_eq!(assignment.take_drained(busy), [lease(2, 1)]);
        assert_eq!(assignment.take_drained(|_| false), [lease(3, 1)]);
        assert!(assignment.take_drained(|_| false).is_empty());
    }

    #[test]
    fn nothing_begins_on_a_released_partition_until_it_is_taken_again() {
        let mut assignment = Assignment::default();
        let mut tenure = held(0, 1);
        assignment.update(&[tenure], 1);
        assert_eq!(assignment.take_drained(|_| false), [lease(0, 1)]);
        // A renewal that began before the release still shows it.
        assignment.update(&[tenure], 0);
        assert_eq!(assignment.active(tenure.lease.partition), None);
        tenure.number = 2;
        assert_eq!(assignment.update(&[tenure], 0).gained, [lease(0, 1)]);
        assert!(assignment.active(tenure.lease.partition).is_some());
    }

    /// What one renewal shows: of each partition the tenure, if it is held, and the surplus.
    #[derive(Clone, Debug)]
    enum Step {
        Update(Vec<Option<u8>>, usize),
        TakeDrained(Vec<bool>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let held = prop::collection::vec(prop::option::weighted(0.8, 0..3_u8), 4);
        let step = prop_oneof![
            2 => (held, 0..5_usize).prop_map(|(held, surplus)| Step::Update(held, surplus)),
            1 => prop::collection::vec(any::<bool>(), 4).prop_map(Step::TakeDrained),
        ];
        prop::collection::vec(step, 0..60)
    }

    fn tenures(held: &[Option<u8>]) -> Vec<Tenure> {
        let tenure = |(number, tenure): (u16, &Option<u8>)| {
            let tenure = u64::from((*tenure)?);
            // The second tenure comes with the first one's epoch: released and taken again.
            Some(Tenure { lease: lease(number, tenure.max(1)), number: tenure })
        };
        (0..).zip(held).filter_map(tenure).collect()
    }

    fn sorted(mut leases: Vec<Lease>) -> Vec<Lease> {
        leases.sort_by_key(|lease| lease.partition);
        leases
    }

    /// What is held, and which of it is to be released.
    #[derive(Default)]
    struct Model {
        assignment: Assignment,
        held: Vec<Tenure>,
        draining: Vec<Lease>,
        released: Vec<Lease>,
    }

    impl Model {
        fn update(&mut self, held: Vec<Tenure>, surplus: usize) -> Result<(), TestCaseError> {
            let changes = self.assignment.update(&held, surplus);
            let missing = |from: &[Tenure], of: &[Tenure]| -> Vec<Lease> {
                of.iter().filter(|it| !from.contains(it)).map(|it| it.lease).collect()
            };
            let lost = missing(&held, &self.held);
            prop_assert_eq!(sorted(changes.gained), missing(&self.held, &held));
            self.draining.retain(|lease| !lost.contains(lease));
            self.released.retain(|lease| !lost.contains(lease));
            prop_assert_eq!(sorted(changes.lost), lost);
            self.held = held;
            for lease in changes.draining {
                prop_assert!(!self.leaving().contains(&lease), "{:?} was drained twice", lease);
                self.draining.push(lease);
            }
            prop_assert!(self.leaving().len() >= surplus.min(self.held.len()));
            Ok(())
        }

        fn take_drained(&mut self, busy: &[bool]) -> Result<(), TestCaseError> {
            let is_busy = |partition: Partition| busy[usize::from(partition.number())];
            let drained = sorted(self.assignment.take_drained(is_busy));
            let due = self.draining.extract_if(.., |lease| !is_busy(lease.partition)).collect();
            prop_assert_eq!(&drained, &sorted(due));
            self.released.extend(drained);
            Ok(())
        }

        fn leaving(&self) -> Vec<Lease> {
            [self.draining.as_slice(), &self.released].concat()
        }

        fn check(&self) -> Result<(), TestCaseError> {
            let leaving = self.leaving();
            let stays = |lease: &Lease| !leaving.contains(lease);
            let active: Vec<Lease> =
                self.held.iter().map(|tenure| tenure.lease).filter(stays).collect();
            prop_assert_eq!(&self.assignment.all_active(), &active);
            for partition in Partition::all(4).unwrap() {
                let expected = active.iter().find(|lease| lease.partition == partition).copied();
                prop_assert_eq!(self.assignment.active(partition), expected);
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn work_begins_only_on_what_is_held_and_stays(steps in steps()) {
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Update(held, surplus) => model.update(tenures(&held), surplus)?,
                    Step::TakeDrained(busy) => model.take_drained(&busy)?,
                }
                model.check()?;
            }
        }
    }
}
