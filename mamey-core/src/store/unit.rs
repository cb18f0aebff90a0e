//! The unit of work: everything that one handler call did, committed completely or not at all.

use super::inbox::SavedReply;
use super::receipt::Receipt;
use super::transaction::OpenTransaction;
use super::write::{Guard, Write};
use crate::criteria::{Collection, Value};
use crate::message::Envelope;
use crate::{Error, Result, Retry};

/// The most documents one unit of work may write.
pub const WRITES_PER_UNIT_MAX: usize = 1000;

/// The most messages one unit of work may send.
pub const MESSAGES_PER_UNIT_MAX: usize = 1000;

/// The most documents one unit of work may guard.
pub const GUARDS_PER_UNIT_MAX: usize = 1000;

/// Everything one handler call did, buffered.
///
/// Plain data, except for the open transaction it may carry: a store may commit many units in one
/// round trip, each with its own outcome. It never holds two writes of one document.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct UnitOfWork {
    /// Documents to put or remove.
    pub writes: Vec<Write>,
    /// Documents that were read for a decision and must not have changed.
    pub guards: Vec<Guard>,
    /// Messages to send, in order.
    pub outbox: Vec<Envelope>,
    /// What becomes of the message that is being handled.
    pub receipt: Option<Receipt>,
    /// The reply to remember under an idempotency key.
    pub reply: Option<SavedReply>,
    /// The transaction that the handler opened for statements of its own: all of the above joins
    /// it, and the commit ends it.
    pub transaction: Option<OpenTransaction>,
}

impl UnitOfWork {
    /// Documents to put or remove, no two of them the same.
    #[must_use]
    pub fn with_writes(mut self, writes: Vec<Write>) -> Self {
        self.writes = writes;
        self
    }

    /// Documents that must not have changed.
    #[must_use]
    pub fn with_guards(mut self, guards: Vec<Guard>) -> Self {
        self.guards = guards;
        self
    }

    /// Messages to send, in order.
    #[must_use]
    pub fn with_outbox(mut self, outbox: Vec<Envelope>) -> Self {
        self.outbox = outbox;
        self
    }

    /// What becomes of the message that is being handled.
    #[must_use]
    pub fn with_receipt(mut self, receipt: impl Into<Option<Receipt>>) -> Self {
        self.receipt = receipt.into();
        self
    }

    /// The reply to remember under an idempotency key.
    #[must_use]
    pub fn with_reply(mut self, reply: impl Into<Option<SavedReply>>) -> Self {
        self.reply = reply.into();
        self
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.guards.is_empty()
            && self.outbox.is_empty()
            && self.receipt.is_none()
            && self.reply.is_none()
            && self.transaction.is_none()
    }

    /// The buffered write of a document.
    #[must_use]
    pub fn write_of(&self, collection: &Collection, id: &Value) -> Option<&Write> {
        self.writes.iter().find(|write| write.collection.name == collection.name && write.id == *id)
    }

    /// Buffers a write, merged with an earlier one of the same document.
    ///
    /// # Errors
    /// `Conflict` when the write expects another state than the earlier one, `AlreadyExists` for
    /// adding what the unit has put already, `LimitExceeded` past [`WRITES_PER_UNIT_MAX`].
    pub fn write(&mut self, write: Write) -> Result<()> {
        let same = |other: &&mut Write| {
            other.collection.name == write.collection.name && other.id == write.id
        };
        let full = self.writes.len() >= WRITES_PER_UNIT_MAX;
        match self.writes.iter_mut().find(same) {
            Some(earlier) => return earlier.merge(write),
            None if full => return Err(too_many("writes", WRITES_PER_UNIT_MAX)),
            None => self.writes.push(write),
        }
        Ok(())
    }

    /// Buffers a guard.
    ///
    /// # Errors
    /// `LimitExceeded` past [`GUARDS_PER_UNIT_MAX`].
    pub fn guard(&mut self, guard: Guard) -> Result<()> {
        if self.guards.len() >= GUARDS_PER_UNIT_MAX {
            return Err(too_many("guards", GUARDS_PER_UNIT_MAX));
        }
        self.guards.push(guard);
        Ok(())
    }

    /// Buffers a message.
    ///
    /// # Errors
    /// `LimitExceeded` past [`MESSAGES_PER_UNIT_MAX`].
    pub fn enqueue(&mut self, envelope: Envelope) -> Result<()> {
        if self.outbox.len() >= MESSAGES_PER_UNIT_MAX {
            return Err(too_many("messages", MESSAGES_PER_UNIT_MAX));
        }
        self.outbox.push(envelope);
        Ok(())
    }
}

fn too_many(what: &str, max: usize) -> Error {
    Error::limit_exceeded(format!(
        "a unit of work holds at most {max} {what}; split the work over several messages"
    ))
    .with_retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::criteria::ValueType;

    const NOTES: &Collection = &Collection::new("notes", ValueType::Int);

    #[test]
    fn a_unit_guards_a_bounded_number_of_documents() {
        let guard = |id| Guard::new(NOTES, Value::Int(id), 1);
        let mut unit = UnitOfWork::default();
        for id in 0..GUARDS_PER_UNIT_MAX {
            unit.guard(guard(i64::try_from(id).unwrap())).unwrap();
        }
        let error = unit.guard(guard(-1)).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
        let text = error.to_string();
        assert!(text.contains("at most 1000 guards"), "{text}");
        assert!(text.contains("split the work over several messages"), "{text}");
        assert_eq!(unit.guards.len(), GUARDS_PER_UNIT_MAX);
    }
}
