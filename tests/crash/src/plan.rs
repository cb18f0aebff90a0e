//! The plan of a round: everything random, drawn from the seed and nothing else.

use std::time::Duration;

use fastrand::Rng;

use crate::domain::accounts::Transfer;
use crate::fault::{Fault, Kind};

/// How many accounts there are.
pub(crate) const ACCOUNTS: u64 = 10;

/// What each account begins with.
pub(crate) const OPENING_BALANCE: i64 = 10_000;

/// What happens in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) round: u64,
    /// How many instances of each context there are.
    pub(crate) instances: usize,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) fault: Fault,
}

/// What plans are drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Planner {
    pub(crate) seed: u64,
    /// The possible faults.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) transfers: u64,
    /// How long a silent instance keeps its partitions.
    pub(crate) lease: Duration,
    /// Whether instances can share the store.
    pub(crate) shares: bool,
}

impl Planner {
    /// The plan of a round, counted from 0.
    pub(crate) fn plan(&self, round: u64) -> Plan {
        let mut rng = self.rng(round + 1);
        let instances = if self.shares && round % 2 == 1 { 2 + rng.usize(0..2) } else { 1 };
        let transfers = (0..self.transfers).map(|number| transfer(&mut rng, round, number));
        let transfers = transfers.collect();
        Plan { round, instances, transfers, fault: self.fault(&mut rng, round) }
    }

    /// Kinds are dealt like cards: each comes up once before any comes up again.
    fn fault(&self, rng: &mut Rng, round: u64) -> Fault {
        let cards = self.kinds.len().max(1) as u64;
        let mut deck = self.kinds.clone();
        self.rng(u64::MAX - round / cards).shuffle(&mut deck);
        let card = usize::try_from(round % cards).unwrap_or_default();
        let kind = deck.get(card).copied().unwrap_or(Kind::Kill);
        let beyond_lease = self.lease + Duration::from_millis(rng.u64(200..1500));
        let jump_ms = match rng.bool() {
            true => rng.i64(60_000..3_600_000),
            // Not far: what is parked would wait that much longer.
            false => -rng.i64(100..1_500),
        };
        Fault {
            kind,
            target: rng.usize(0..1000),
            after_answers: rng.u64(1..=self.transfers / 2),
            delay: Duration::from_millis(rng.u64(0..60)),
            lasts: beyond_lease,
            jump_ms,
            pass: passes(kind, rng),
        }
    }

    fn rng(&self, stream: u64) -> Rng {
        // Neighbouring numbers must not give neighbouring schedules.
        Rng::with_seed(self.seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)).fork()
    }
}

/// Few messages are parked and replayed, so only early passes are certain.
fn passes(kind: Kind, rng: &mut Rng) -> u32 {
    match kind {
        Kind::Failpoint("while-parking" | "during-replay") => rng.u32(1..=2),
        _ => rng.u32(1..=12),
    }
}

fn transfer(rng: &mut Rng, round: u64, number: u64) -> Transfer {
    let from = rng.u64(0..ACCOUNTS);
    let to = (from + rng.u64(1..ACCOUNTS)) % ACCOUNTS;
    Transfer {
        key: format!("r{round}-t{number}"),
        from: account(from),
        to: account(to),
        amount: rng.i64(1..500),
        failures: if rng.u8(0..8) == 0 { rng.u32(1..=2) } else { 0 },
        flagged: rng.u8(0..12) == 0,
        think_ms: rng.u64(0..25),
    }
}

/// The name of an account.
pub(crate) fn account(number: u64) -> String {
    format!("a{number:02}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::options::{StoreKind, TransportKind};

    fn planner(seed: u64) -> Planner {
        let kinds = Kind::all(StoreKind::Postgres, TransportKind::Rabbitmq, true);
        Planner { seed, kinds, transfers: 40, lease: Duration::from_secs(1), shares: true }
    }

    #[test]
    fn a_seed_gives_the_same_schedule_again_and_another_one_another() {
        let plans = |seed| (0..30).map(|round| planner(seed).plan(round)).collect::<Vec<_>>();
        assert_eq!(plans(7), plans(7));
        assert_ne!(plans(7), plans(8));
    }

    #[test]
    fn every_kind_comes_up_in_one_deal() {
        let planner = planner(3);
        let cards = planner.kinds.len() as u64;
        let dealt: BTreeSet<_> = (0..cards).map(|round| planner.plan(round).fault.kind).collect();
        assert_eq!(dealt, planner.kinds.iter().copied().collect());
    }

    #[test]
    fn half_of_the_rounds_have_several_instances_where_they_can_share() {
        let several = |shares| {
            let planner = Planner { shares, ..planner(5) };
            (0..20).filter(|round| planner.plan(*round).instances > 1).count()
        };
        assert_eq!((several(true), several(false)), (10, 0));
    }
}
