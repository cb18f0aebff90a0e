//! Commits units of work: every check first, then changes that cannot fail.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Collection, Value};
use mamey_core::store::{
    Change, CommitOutcome, CommitStore, CommitToken, Expected, Guard, Origin, Outcome, Receipt,
    UnitOfWork, Write,
};

use super::state::State;
use super::state::documents::{Documents, Stored};
use super::store::MemoryStore;
use crate::common::errors::{changed, id_taken, value_taken};

#[async_trait]
impl CommitStore for MemoryStore {
    async fn commit(&self, unit: UnitOfWork) -> Result<CommitOutcome> {
        self.declared.check_unit(&unit)?;
        let now = self.shared.clock.now();
        self.state()?.commit(unit, now)
    }
}

impl State {
    fn commit(&mut self, mut unit: UnitOfWork, now: Timestamp) -> Result<CommitOutcome> {
        self.complete(&mut unit);
        if let Some(refusal) = self.refusal(&unit) {
            return Ok(refusal);
        }
        self.check_versions(&unit)?;
        self.check_absent(&unit.writes)?;
        self.check_unique(&unit.writes)?;
        self.apply(unit, now);
        self.commits += 1;
        Ok(CommitOutcome::Committed(CommitToken::new(self.commits)))
    }

    /// Adds the values of fields that only other builds know.
    fn complete(&self, unit: &mut UnitOfWork) {
        for write in &mut unit.writes {
            if let Change::Put { data, index } = &mut write.change
                && let Some(documents) = self.documents.get(write.collection.name)
            {
                let own = std::mem::take(index);
                *index = documents.fields().values(write.collection, own, data);
            }
        }
    }

    /// The outcome when the message or the idempotency key forbids the unit.
    fn refusal(&self, unit: &UnitOfWork) -> Option<CommitOutcome> {
        let receipt = unit.receipt.as_ref();
        let refused = receipt.and_then(|receipt| self.receipt_refusal(receipt));
        let replied = || {
            let saved = unit.reply.as_ref()?;
            let taken = self.inbox.reply(saved.command, &saved.key).is_some();
            taken.then_some(CommitOutcome::Duplicate)
        };
        refused.or_else(replied)
    }

    fn receipt_refusal(&self, receipt: &Receipt) -> Option<CommitOutcome> {
        let message = receipt.identity;
        if receipt.origin == Origin::Parked {
            return (!self.parking.holds(message)).then_some(CommitOutcome::Duplicate);
        }
        if self.inbox.was_received(message) {
            return Some(CommitOutcome::Duplicate);
        }
        let parks = matches!(receipt.outcome, Outcome::Park { .. });
        let lane = receipt.envelope.lane();
        let blocked = !parks && lane.is_some_and(|lane| self.parking.blocks(&lane));
        blocked.then_some(CommitOutcome::LaneParked)
    }

    fn check_versions(&self, unit: &UnitOfWork) -> Result<()> {
        for Guard { collection, id, version, .. } in &unit.guards {
            self.check_version(collection, id, *version)?;
        }
        for write in &unit.writes {
            if let Expected::Version(version) = write.expected {
                self.check_version(write.collection, &write.id, version)?;
            }
        }
        Ok(())
    }

    fn check_version(
        &self,
        collection: &'static Collection,
        id: &Value,
        expected: u64,
    ) -> Result<()> {
        if self.version(collection, id) == Some(expected) {
            return Ok(());
        }
        Err(changed(collection.name, id))
    }

    fn check_absent(&self, writes: &[Write]) -> Result<()> {
        let mut added = writes.iter().filter(|write| write.expected == Expected::Absent);
        match added.find(|write| self.version(write.collection, &write.id).is_some()) {
            Some(taken) => Err(id_taken(taken.collection.name, &taken.id)),
            None => Ok(()),
        }
    }

    /// A value is free if its holder is written by the same unit.
    fn check_unique(&self, writes: &[Write]) -> Result<()> {
        for (at, write) in writes.iter().enumerate() {
            let Change::Put { index, .. } = &write.change else {
                continue;
            };
            let Some(documents) = self.documents.get(write.collection.name) else {
                continue;
            };
            for (place, value) in documents.fields().unique_values(index) {
                let mut earlier = writes.iter().take(at);
                let taken = earlier.any(|other| gives(other, write.collection, place, value));
                if taken || self.is_held(write, place, value, writes) {
                    let field = documents.fields().at(place).map(|index| index.field);
                    return Err(value_taken(write.collection.name, field.unwrap_or_default()));
                }
            }
        }
        Ok(())
    }

    fn is_held(&self, write: &Write, place: usize, value: &Value, writes: &[Write]) -> bool {
        let documents = self.documents.get(write.collection.name);
        let holder = documents.and_then(|documents| documents.holder(place, value));
        holder.is_some_and(|holder| {
            let rewritten = |other: &Write| {
                other.collection.name == write.collection.name && other.id == *holder
            };
            !writes.iter().any(rewritten)
        })
    }

    fn version(&self, collection: &'static Collection, id: &Value) -> Option<u64> {
        self.documents.get(collection.name)?.version(id)
    }

    fn apply(&mut self, unit: UnitOfWork, now: Timestamp) {
        if let Some(receipt) = unit.receipt {
            self.record(receipt, now);
        }
        if let Some(reply) = unit.reply {
            self.inbox.save_reply(reply, now);
        }
        // All removals come first, so that a unique value may move from one document to another.
        for write in &unit.writes {
            self.documents_of(write.collection).remove(&write.id);
        }
        for write in unit.writes {
            self.put(write);
        }
        if unit.outbox.is_empty() {
            return;
        }
        unit.outbox.into_iter().for_each(|envelope| self.outbox.push(envelope));
        self.listeners.notify();
    }

    /// Records the outcome of the message that the unit handles.
    fn record(&mut self, receipt: Receipt, now: Timestamp) {
        let Receipt { identity, envelope, origin, outcome, .. } = receipt;
        if origin == Origin::Delivery {
            self.inbox.receive(identity, now);
        }
        match outcome {
            Outcome::Handled => self.parking.remove(identity),
            Outcome::Park { delay, attempts, failure } => {
                let due = now.plus(delay);
                self.parking.park(identity, envelope, due, attempts, failure, now);
            }
            Outcome::DeadLetter { reason, attempts, failure } => {
                self.parking.give_up(identity, envelope, reason, attempts, failure, now);
            }
        }
    }

    fn put(&mut self, write: Write) {
        let Change::Put { data, index } = write.change else {
            return;
        };
        let version = match write.expected {
            Expected::Absent => 1,
            Expected::Version(version) => version.saturating_add(1),
        };
        let stored = Stored { version, data, index };
        self.documents_of(write.collection).insert(write.id, stored);
    }

    fn documents_of(&mut self, collection: &'static Collection) -> &mut Documents {
        self.documents.entry(collection.name).or_default()
    }
}

/// Whether a write gives the field at this place this value.
fn gives(write: &Write, collection: &'static Collection, place: usize, value: &Value) -> bool {
    let Change::Put { index, .. } = &write.change else {
        return false;
    };
    write.collection.name == collection.name && index.get(place) == Some(value)
}
