//! The unit of work: everything a handler did, as plain data that commits at once or not at all.

use bytes::Bytes;

use super::{OpenTransaction, Receipt, SavedReply};
use crate::criteria::{Collection, Value};
use crate::message::Envelope;
use crate::{Error, Result};

/// The most documents one unit of work may write.
pub const WRITES_PER_UNIT_MAX: usize = 1000;

/// The most messages one unit of work may send.
pub const MESSAGES_PER_UNIT_MAX: usize = 1000;

/// Everything one handler call did, buffered.
///
/// But for a transaction that the handler opened it is plain data, so a store may commit many units in one round trip, each with its own
/// outcome. It never holds two writes of one document.
#[derive(Debug, Default)]
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

/// A change to one document.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub collection: &'static Collection,
    /// Which.
    pub id: Value,
    /// What must be stored before.
    pub expected: Expected,
    /// What is stored after.
    pub change: Change,
}

/// What must be stored for a write to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing under this id; otherwise `AlreadyExists`.
    Absent,
    /// This version; otherwise `Conflict`.
    Version(u64),
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// Stores the document; its version becomes the expected one plus one, or 1.
    Put {
        /// The aggregate as JSON.
        data: Bytes,
        /// Values of the indexed fields, in the collection's order.
        index: Vec<Value>,
    },
    /// Removes the document. With [`Expected::Absent`] it was added and removed in one unit: there
    /// is nothing to do but the check.
    Remove,
}

/// A document that was read and must not have changed.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Where.
    pub collection: &'static Collection,
    /// Which.
    pub id: Value,
    /// The version it was read at.
    pub version: u64,
}

impl UnitOfWork {
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
            Some(earlier) => return merge(earlier, write),
            None if full => return Err(too_many("writes", WRITES_PER_UNIT_MAX)),
            None => self.writes.push(write),
        }
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

/// The earlier write's expectation is about what is stored; the later one's, about what the
/// handler saw, which is that same version.
fn merge(earlier: &mut Write, later: Write) -> Result<()> {
    let removed = matches!(earlier.change, Change::Remove);
    match (later.expected, removed) {
        (Expected::Absent, false) => Err(Error::already_exists(format!(
            "{}/{} is added twice in one unit of work",
            later.collection.name, later.id
        ))),
        (Expected::Version(version), _) if !earlier.sees(version) => Err(Error::conflict(format!(
            "{}/{} is written at version {version} and at another in one unit of work",
            later.collection.name, later.id
        ))),
        _ => {
            earlier.change = later.change;
            Ok(())
        }
    }
}

impl Write {
    /// Whether `version` is what a handler sees of this buffered write.
    fn sees(&self, version: u64) -> bool {
        version == self.seen_version()
    }

    /// The version that a handler sees when it loads its own buffered write: the stored one, so
    /// that saving it again expects the same; 0 for a document that is not stored yet.
    #[must_use]
    pub fn seen_version(&self) -> u64 {
        match self.expected {
            Expected::Absent => 0,
            Expected::Version(version) => version,
        }
    }
}

fn too_many(what: &str, max: usize) -> Error {
    Error::limit_exceeded(format!(
        "a unit of work holds at most {max} {what}; split the work over several messages"
    ))
    .with_retry(crate::Retry::Never)
}
