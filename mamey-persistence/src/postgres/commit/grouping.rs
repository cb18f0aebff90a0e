//! Decides which waiting units share a call. Pure: the committer does the I/O.
//!
//! A unit that finds a call free goes at once. Those that come while all calls are under way go
//! together with the next. Units that have something in common never share a call, nor are they in
//! two calls at a time, and they go in the order in which they came.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};

use super::claims::{Claim, Hold, Size};

/// How many calls of one context are under way at a time. The next one fills while these sync.
const CALLS_IN_FLIGHT_MAX: usize = 2;

/// The most units that share a call.
const UNITS_PER_CALL_MAX: usize = 64;

/// The most documents and messages of units that share a call.
const ITEMS_PER_CALL_MAX: usize = 1024;

/// The most bytes of documents and messages of units that share a call: 1 MiB.
const BYTES_PER_CALL_MAX: usize = 1024 * 1024;

/// What waits for a call.
pub(crate) trait Waiting {
    fn claims(&self) -> &[Claim];
    fn size(&self) -> Size;
}

/// The units that wait, and what those under way claim.
pub(crate) struct Grouping<W> {
    waiting: VecDeque<W>,
    /// What the units under way claim, and how many they are.
    claimed: HashMap<u64, (Hold, usize)>,
    calls: usize,
}

impl<W> Default for Grouping<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), claimed: HashMap::new(), calls: 0 }
    }
}

impl<W: Waiting> Grouping<W> {
    /// Adds a unit at the end.
    pub(crate) fn add(&mut self, unit: W) {
        self.waiting.push_back(unit);
    }

    /// The units of the next call, in the order in which they came; `None` when no call may begin.
    /// The call is under way until [`Grouping::end`].
    pub(crate) fn next(&mut self) -> Option<Vec<W>> {
        if self.calls >= CALLS_IN_FLIGHT_MAX || self.waiting.is_empty() {
            return None;
        }
        let mut group = Group::default();
        let mut left = VecDeque::new();
        while let Some(unit) = self.waiting.pop_front() {
            if group.is_full(unit.size()) {
                left.push_back(unit);
                break;
            }
            if group.may_take(unit.claims(), &self.claimed) {
                group.take(unit);
            } else {
                group.passed.extend(unit.claims().iter().map(|claim| claim.what));
                left.push_back(unit);
            }
        }
        // They keep their places before those that were not looked at.
        while let Some(unit) = left.pop_back() {
            self.waiting.push_front(unit);
        }
        if group.units.is_empty() {
            return None;
        }
        self.begin(&group.units);
        Some(group.units)
    }

    /// Ends a call, whose units had these claims.
    pub(crate) fn end<'c>(&mut self, claims: impl Iterator<Item = &'c Claim>) {
        self.calls -= 1;
        for claim in claims {
            if let Entry::Occupied(mut claimed) = self.claimed.entry(claim.what) {
                claimed.get_mut().1 -= 1;
                if claimed.get().1 == 0 {
                    claimed.remove();
                }
            }
        }
    }

    fn begin(&mut self, units: &[W]) {
        self.calls += 1;
        for claim in units.iter().flat_map(Waiting::claims) {
            self.claimed.entry(claim.what).or_insert((claim.hold, 0)).1 += 1;
        }
    }
}

/// The units of a call while they are put together.
struct Group<W> {
    units: Vec<W>,
    size: Size,
    claimed: HashMap<u64, Hold>,
    /// What is claimed by units that came earlier and must wait: nobody overtakes them.
    passed: HashSet<u64>,
}

impl<W> Default for Group<W> {
    fn default() -> Self {
        Self {
            units: Vec::new(),
            size: Size::default(),
            claimed: HashMap::new(),
            passed: HashSet::new(),
        }
    }
}

impl<W: Waiting> Group<W> {
    /// The first unit goes whatever its size.
    fn is_full(&self, next: Size) -> bool {
        !self.units.is_empty()
            && (self.units.len() >= UNITS_PER_CALL_MAX
                || self.size.items + next.items > ITEMS_PER_CALL_MAX
                || self.size.bytes + next.bytes > BYTES_PER_CALL_MAX)
    }

    fn may_take(&self, claims: &[Claim], under_way: &HashMap<u64, (Hold, usize)>) -> bool {
        claims.iter().all(|claim| {
            let beside = under_way.get(&claim.what).map(|(hold, _)| *hold);
            let within = self.claimed.get(&claim.what).copied();
            let goes_beside = beside.is_none_or(|hold| hold == Hold::Shared && claim.hold == hold);
            let goes_within = within.is_none_or(|hold| hold != Hold::Alone && claim.hold == hold);
            goes_beside && goes_within && !self.passed.contains(&claim.what)
        })
    }

    fn take(&mut self, unit: W) {
        let size = unit.size();
        self.size.items += size.items;
        self.size.bytes += size.bytes;
        self.claimed.extend(unit.claims().iter().map(|claim| (claim.what, claim.hold)));
        self.units.push(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit with a number, by which the tests know it.
    struct Unit {
        number: u32,
        claims: Vec<Claim>,
        bytes: usize,
    }

    impl Waiting for Unit {
        fn claims(&self) -> &[Claim] {
            &self.claims
        }

        fn size(&self) -> Size {
            Size { items: 1, bytes: self.bytes }
        }
    }

    fn unit(number: u32, claims: &[(Hold, u64)]) -> Unit {
        let claims = claims.iter().map(|(hold, what)| Claim { hold: *hold, what: *what }).collect();
        Unit { number, claims, bytes: 1 }
    }

    fn grouping(units: impl IntoIterator<Item = Unit>) -> Grouping<Unit> {
        let mut grouping = Grouping::default();
        units.into_iter().for_each(|unit| grouping.add(unit));
        grouping
    }

    fn numbers(units: &[Unit]) -> Vec<u32> {
        units.iter().map(|unit| unit.number).collect()
    }

    fn end(grouping: &mut Grouping<Unit>, units: &[Unit]) {
        grouping.end(units.iter().flat_map(Waiting::claims));
    }

    #[test]
    fn units_that_share_a_document_go_one_after_the_other() {
        let alone = [(Hold::Alone, 7)];
        let mut grouping = grouping([unit(1, &alone), unit(2, &alone), unit(3, &[])]);
        let first = grouping.next().unwrap();
        assert_eq!(numbers(&first), [1, 3]);
        assert!(grouping.next().is_none(), "the document is under way");
        end(&mut grouping, &first);
        assert_eq!(numbers(&grouping.next().unwrap()), [2]);
    }

    #[test]
    fn messages_of_one_key_share_a_call_but_are_not_in_two_at_a_time() {
        let key = [(Hold::InBatch, 7)];
        let mut grouping = grouping([unit(1, &key), unit(2, &key)]);
        assert_eq!(numbers(&grouping.next().unwrap()), [1, 2]);
        grouping.add(unit(3, &key));
        assert!(grouping.next().is_none());
    }

    #[test]
    fn guards_of_one_document_go_beside_each_other_but_not_beside_its_writer() {
        let guard = [(Hold::Shared, 7)];
        let mut grouping = grouping([unit(1, &guard), unit(2, &guard)]);
        assert_eq!(numbers(&grouping.next().unwrap()), [1, 2]);
        grouping.add(unit(3, &[(Hold::Alone, 7)]));
        assert!(grouping.next().is_none());
    }

    #[test]
    fn nobody_overtakes_a_unit_that_waits_for_the_same_thing() {
        let mut grouping = grouping([
            unit(1, &[(Hold::Alone, 7)]),
            unit(2, &[(Hold::Alone, 7), (Hold::Alone, 8)]),
            unit(3, &[(Hold::Alone, 8)]),
        ]);
        assert_eq!(numbers(&grouping.next().unwrap()), [1]);
    }

    #[test]
    fn calls_and_their_units_and_bytes_are_bounded() {
        let many = (0..100).map(|number| unit(number, &[]));
        let mut grouping = grouping(many);
        assert_eq!(grouping.next().unwrap().len(), UNITS_PER_CALL_MAX);
        grouping.waiting.iter_mut().for_each(|unit| unit.bytes = BYTES_PER_CALL_MAX);
        assert_eq!(grouping.next().unwrap().len(), 1);
        assert!(grouping.next().is_none(), "two calls are under way");
    }
}
