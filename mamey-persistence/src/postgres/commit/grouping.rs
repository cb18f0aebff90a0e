//! Decides which waiting units share a call. Pure: the committer does the I/O.
//!
//! A unit that finds a call free goes at once. Those that come while all calls are under way go
//! together with the next. Units that have something in common never share a call, nor are they in
//! two calls at a time, and they go in the order in which they came.
//!
//! A unit that found something held by another transaction waits outside of the calls, and so does
//! whoever claims the same until one of them has found nothing held.

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

/// The most claims that are remembered as held. Past it all are forgotten, and each costs one call that
/// waits.
const HELD_CLAIMS_MAX: usize = 16 * 1024;

/// What waits for a call.
pub(crate) trait Waiting {
    fn claims(&self) -> &[Claim];
    fn size(&self) -> Size;
}

/// What goes next.
#[derive(Debug)]
pub(crate) enum Next<W> {
    /// The units of a call, in the order in which they came. It is under way until
    /// [`Grouping::end_call`].
    Call(Vec<W>),
    /// A unit that most likely has to wait for another transaction; it is in no call.
    Alone(W),
}

/// The units that wait, and what those under way claim.
pub(crate) struct Grouping<W> {
    waiting: VecDeque<W>,
    /// What the units under way claim, and how many they are.
    claimed: HashMap<u64, (Hold, usize)>,
    calls: usize,
    /// The claims of units that found something held.
    held: HashSet<u64>,
}

impl<W> Default for Grouping<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), claimed: HashMap::new(), calls: 0, held: HashSet::new() }
    }
}

impl<W: Waiting> Grouping<W> {
    /// Adds a unit at the end.
    pub(crate) fn add(&mut self, unit: W) {
        self.waiting.push_back(unit);
    }

    /// What may begin now; its claims are its own until they are [released](Grouping::release).
    pub(crate) fn next(&mut self) -> Option<Next<W>> {
        if let Some(unit) = self.next_alone() {
            return Some(Next::Alone(unit));
        }
        let units = self.next_call()?;
        self.calls += 1;
        Some(Next::Call(units))
    }

    fn next_alone(&mut self) -> Option<W> {
        if self.held.is_empty() {
            return None;
        }
        let mut passed = HashSet::new();
        let at = self.waiting.iter().position(|unit| {
            let claims = unit.claims();
            let goes = self.finds_held(claims)
                && claims.iter().all(|claim| self.is_free(claim) && !passed.contains(&claim.what));
            passed.extend(claims.iter().map(|claim| claim.what));
            goes
        })?;
        let unit = self.waiting.remove(at)?;
        self.claim(unit.claims());
        Some(unit)
    }

    fn next_call(&mut self) -> Option<Vec<W>> {
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
            if !self.finds_held(unit.claims()) && group.may_take(unit.claims(), self) {
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
        group.units.iter().for_each(|unit| self.claim(unit.claims()));
        (!group.units.is_empty()).then_some(group.units)
    }

    /// Ends a call; the claims of its units are still theirs.
    pub(crate) fn end_call(&mut self) {
        self.calls -= 1;
    }

    /// Remembers that a unit with these claims found something held.
    pub(crate) fn found_held(&mut self, claims: &[Claim]) {
        if self.held.len() + claims.len() > HELD_CLAIMS_MAX {
            self.held.clear();
        }
        self.held.extend(claims.iter().map(|claim| claim.what));
    }

    /// Remembers that a unit with these claims found nothing held.
    pub(crate) fn found_free(&mut self, claims: &[Claim]) {
        for claim in claims {
            self.held.remove(&claim.what);
        }
    }

    /// Whether a unit with these claims most likely finds something held.
    fn finds_held(&self, claims: &[Claim]) -> bool {
        !self.held.is_empty() && claims.iter().any(|claim| self.held.contains(&claim.what))
    }

    /// Gives up the claims of a unit that has its answer.
    pub(crate) fn release(&mut self, claims: &[Claim]) {
        for claim in claims {
            if let Entry::Occupied(mut claimed) = self.claimed.entry(claim.what) {
                claimed.get_mut().1 -= 1;
                if claimed.get().1 == 0 {
                    claimed.remove();
                }
            }
        }
    }

    fn claim(&mut self, claims: &[Claim]) {
        for claim in claims {
            self.claimed.entry(claim.what).or_insert((claim.hold, 0)).1 += 1;
        }
    }

    /// Whether a claim goes beside those of the units under way.
    fn is_free(&self, claim: &Claim) -> bool {
        let beside = self.claimed.get(&claim.what).map(|(hold, _)| *hold);
        beside.is_none_or(|hold| hold == Hold::Shared && claim.hold == hold)
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

    fn may_take(&self, claims: &[Claim], under_way: &Grouping<W>) -> bool {
        claims.iter().all(|claim| {
            let within = self.claimed.get(&claim.what).copied();
            let goes_within = within.is_none_or(|hold| hold != Hold::Alone && claim.hold == hold);
            under_way.is_free(claim) && goes_within && !self.passed.contains(&claim.what)
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
    #[derive(Debug)]
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
        grouping.end_call();
        units.iter().for_each(|unit| grouping.release(&unit.claims));
    }

    /// The units of the next call.
    fn call(grouping: &mut Grouping<Unit>) -> Option<Vec<Unit>> {
        grouping.next().map(|next| match next {
            Next::Call(units) => units,
            Next::Alone(unit) => panic!("unit {} goes alone", unit.number),
        })
    }

    /// The unit that goes next, alone.
    fn alone(grouping: &mut Grouping<Unit>) -> Unit {
        match grouping.next() {
            Some(Next::Alone(unit)) => unit,
            other => panic!("no unit goes alone: {other:?}"),
        }
    }

    #[test]
    fn units_that_share_a_document_go_one_after_the_other() {
        let alone = [(Hold::Alone, 7)];
        let mut grouping = grouping([unit(1, &alone), unit(2, &alone), unit(3, &[])]);
        let first = call(&mut grouping).unwrap();
        assert_eq!(numbers(&first), [1, 3]);
        assert!(call(&mut grouping).is_none(), "the document is under way");
        end(&mut grouping, &first);
        assert_eq!(numbers(&call(&mut grouping).unwrap()), [2]);
    }

    #[test]
    fn messages_of_one_key_share_a_call_but_are_not_in_two_at_a_time() {
        let key = [(Hold::InBatch, 7)];
        let mut grouping = grouping([unit(1, &key), unit(2, &key)]);
        assert_eq!(numbers(&call(&mut grouping).unwrap()), [1, 2]);
        grouping.add(unit(3, &key));
        assert!(call(&mut grouping).is_none());
    }

    #[test]
    fn guards_of_one_document_go_beside_each_other_but_not_beside_its_writer() {
        let guard = [(Hold::Shared, 7)];
        let mut grouping = grouping([unit(1, &guard), unit(2, &guard)]);
        assert_eq!(numbers(&call(&mut grouping).unwrap()), [1, 2]);
        grouping.add(unit(3, &[(Hold::Alone, 7)]));
        assert!(call(&mut grouping).is_none());
    }

    #[test]
    fn nobody_overtakes_a_unit_that_waits_for_the_same_thing() {
        let mut grouping = grouping([
            unit(1, &[(Hold::Alone, 7)]),
            unit(2, &[(Hold::Alone, 7), (Hold::Alone, 8)]),
            unit(3, &[(Hold::Alone, 8)]),
        ]);
        assert_eq!(numbers(&call(&mut grouping).unwrap()), [1]);
    }

    #[test]
    fn a_unit_that_found_something_held_keeps_nobody_but_those_who_claim_the_same() {
        let one = |number| unit(number, &[(Hold::Alone, 7), (Hold::InBatch, 8)]);
        let mut grouping = grouping([one(1), unit(2, &[])]);
        let first = call(&mut grouping).unwrap();
        grouping.found_held(&first[0].claims);
        grouping.end_call();
        grouping.release(&first[1].claims);
        grouping.add(one(3));
        grouping.add(unit(4, &[(Hold::InBatch, 8)]));
        let others = (5..).take(UNITS_PER_CALL_MAX).map(|number| unit(number, &[]));
        others.for_each(|unit| grouping.add(unit));
        for _ in 0..CALLS_IN_FLIGHT_MAX {
            assert!(call(&mut grouping).unwrap()[0].number > 4, "the first still waits");
            grouping.add(unit(99, &[]));
        }
        grouping.release(&first[0].claims);
        assert_eq!(alone(&mut grouping).number, 3, "though all calls are under way");
        assert!(grouping.next().is_none(), "the fourth does not overtake the third");
    }

    #[test]
    fn who_claims_what_was_held_goes_alone_until_it_is_free() {
        let mut grouping = grouping([]);
        grouping.found_held(&unit(0, &[(Hold::Alone, 7)]).claims);
        grouping.add(unit(1, &[(Hold::Alone, 6)]));
        grouping.add(unit(2, &[(Hold::Alone, 6), (Hold::Alone, 7)]));
        let first = call(&mut grouping).unwrap();
        assert_eq!(numbers(&first), [1], "nobody overtakes it");
        end(&mut grouping, &first);
        let second = alone(&mut grouping);
        grouping.found_free(&second.claims);
        grouping.release(&second.claims);
        grouping.add(unit(3, &[(Hold::Alone, 7)]));
        assert_eq!(numbers(&call(&mut grouping).unwrap()), [3]);
    }

    #[test]
    fn what_is_remembered_as_held_is_bounded() {
        let mut grouping = grouping([]);
        for what in 0..2 * HELD_CLAIMS_MAX as u64 {
            grouping.found_held(&unit(0, &[(Hold::Alone, what)]).claims);
            assert!(grouping.held.len() <= HELD_CLAIMS_MAX);
        }
    }

    #[test]
    fn calls_and_their_units_and_bytes_are_bounded() {
        let many = (0..100).map(|number| unit(number, &[]));
        let mut grouping = grouping(many);
        assert_eq!(call(&mut grouping).unwrap().len(), UNITS_PER_CALL_MAX);
        grouping.waiting.iter_mut().for_each(|unit| unit.bytes = BYTES_PER_CALL_MAX);
        assert_eq!(call(&mut grouping).unwrap().len(), 1);
        assert!(call(&mut grouping).is_none(), "two calls are under way");
    }
}
