//! Random units of work that share few documents, messages, lanes, replies and unique values.

use std::time::Duration;

use mamey_core::Error;
use mamey_core::criteria::Value;
use mamey_core::message::Envelope;
use mamey_core::store::{
    Change, CommitOutcome, DeadLetterReason, Expected, FINGERPRINT_BYTES, Failure, Fingerprint,
    Guard, Origin, Outcome, Receipt, SavedReply, Store, UnitOfWork, Write,
};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::support::{NOTES, PEOPLE, commit, message, note, person, writes};

pub(crate) const DOCUMENTS: i64 = 4;
pub(crate) const MESSAGES: u128 = 8;
pub(crate) const REPLIES: u8 = 3;

/// A unit of work as plain numbers.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    writes: Vec<Written>,
    guards: Vec<(bool, i64, u64)>,
    receipt: Option<Received>,
    reply: Option<u8>,
    key: Option<u8>,
}

#[derive(Clone, Debug)]
struct Written {
    is_person: bool,
    id: i64,
    version: Option<u64>,
    email: Option<i64>,
    removes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Received {
    message: u128,
    was_parked: bool,
    becomes: Becomes,
}

#[derive(Clone, Copy, Debug)]
enum Becomes {
    Handled,
    Parked,
    Dead,
}

pub(crate) fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let written = (any::<bool>(), 0..DOCUMENTS, weighted(0.8, 1..3_u64), of(0..4_i64), 0..8_u8)
        .prop_map(|(is_person, id, version, email, chance)| Written {
            is_person,
            id,
            version,
            email,
            removes: chance == 0,
        });
    let becomes = prop_oneof![
        3 => Just(Becomes::Handled), 1 => Just(Becomes::Parked), 1 => Just(Becomes::Dead)
    ];
    let received = (0..MESSAGES, any::<bool>(), becomes)
        .prop_map(|(message, was_parked, becomes)| Received { message, was_parked, becomes });
    let guard = (any::<bool>(), 0..DOCUMENTS, 1..3_u64);
    let plan = (
        vec(written, 0..3),
        vec(guard, 0..2),
        weighted(0.4, received),
        weighted(0.2, 0..REPLIES),
        of(0..2_u8),
    );
    let plan = plan.prop_map(|(writes, guards, receipt, reply, key)| Plan {
        writes,
        guards,
        receipt,
        reply,
        key,
    });
    vec(plan, 8..32)
}

/// A message, whose lane depends on its number.
pub(crate) fn incoming(number: u128) -> Envelope {
    let lanes = [Some("a"), Some("b"), Some("c"), None];
    message(5000 + number, lanes[usize::try_from(number).unwrap() % lanes.len()])
}

impl Plan {
    /// The unit. It sends a message with its number, which identifies it.
    pub(crate) fn unit(&self, number: u128) -> UnitOfWork {
        let mut unit = UnitOfWork::default();
        for written in &self.writes {
            // Two writes of one document may contradict each other; then the first is kept.
            let _contradicts = unit.write(written.write());
        }
        for (is_person, id, version) in &self.guards {
            let collection = if *is_person { &PEOPLE } else { &NOTES };
            unit.guards.push(Guard::new(collection, Value::Int(*id), *version));
        }
        unit.receipt = self.receipt.map(Received::receipt);
        unit.reply = self.reply.map(|key| {
            let fingerprint = [number.to_le_bytes()[0]; FINGERPRINT_BYTES];
            let fingerprint = Fingerprint::from_bytes(&fingerprint).unwrap();
            let body = number.to_string().into();
            SavedReply::new("shop.count", key.to_string(), fingerprint, body)
        });
        let key = self.key.map(|key| key.to_string());
        unit.enqueue(message(number, key.as_deref())).unwrap();
        unit
    }
}

impl Written {
    fn write(&self) -> Write {
        let expected = self.version.map_or(Expected::Absent, Expected::Version);
        let mut write = match self.is_person {
            true => person(self.id, expected, self.email),
            false => note(self.id, expected),
        };
        if self.removes {
            write.change = Change::Remove;
        }
        write
    }
}

impl Received {
    fn receipt(self) -> Receipt {
        let failure =
            || Failure::from(&Error::rejected("shop.closed", "the shop is closed on Sundays"));
        let outcome = match self.becomes {
            Becomes::Handled => Outcome::Handled,
            Becomes::Parked => {
                let delay = Duration::ZERO;
                Outcome::Park { delay, attempts: 2, failure: failure() }
            }
            Becomes::Dead => {
                let reason = DeadLetterReason::Exhausted;
                Outcome::DeadLetter { reason, attempts: 3, failure: failure() }
            }
        };
        let origin = if self.was_parked { Origin::Parked } else { Origin::Delivery };
        Receipt::new(incoming(self.message), origin, outcome)
    }
}

/// Prepares a store: half of the documents, with unique values, and two parked messages, one with a
/// lane and one without.
pub(crate) async fn begin(store: &dyn Store) {
    let documents = (0..DOCUMENTS / 2)
        .flat_map(|id| [person(id, Expected::Absent, Some(id)), note(id, Expected::Absent)]);
    commit(store, writes(documents)).await;
    for message in [0, 3] {
        let parked = Received { message, was_parked: false, becomes: Becomes::Parked };
        let receipt = Some(parked.receipt());
        commit(store, UnitOfWork::default().with_receipt(receipt)).await;
    }
}

/// The result of a commit, without numbers that differ between stores.
pub(crate) fn said(outcome: &mamey_core::Result<CommitOutcome>) -> String {
    match outcome {
        Ok(CommitOutcome::Committed(_)) => "committed".to_owned(),
        Ok(refused) => format!("{refused:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}
