//! The unit of work: everything that one handler call did, committed completely or not at all.

use super::inbox::SavedReply;
use super::receipt::Receipt;
use super::transaction::OpenTransaction;
use super::write::{Expected, Guard, Write};
use crate::criteria::{Collection, Value};
use crate::message::Envelope;
use crate::{Error, Result, Retry};

/// The most documents one unit of work may write.
pub const WRITES_PER_UNIT_MAX: usize = 1000;

/// The most messages one unit of work may send.
pub const MESSAGES_PER_UNIT_MAX: usize = 1000;

/// The most documents one unit of work may guard.
pub const GUARDS_PER_UNIT_MAX: usize = 1000;

/// The most bytes one unit of work may hold: documents, payloads and the remembered reply.
pub const UNIT_BYTES_MAX: usize = 64 * 1024 * 1024;

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
    /// What was buffered one by one so far, in bytes.
    bytes: usize,
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
    /// `Conflict` when the write expects another version than the earlier one, `AlreadyExists` for
    /// adding what the unit has put already or the handler has loaded, `NotFound` for saving what
    /// the unit has removed or what only another unit has added, `LimitExceeded` past
    /// [`WRITES_PER_UNIT_MAX`] and [`UNIT_BYTES_MAX`].
    pub fn write(&mut self, write: Write) -> Result<()> {
        let same =
            |other: &Write| other.collection.name == write.collection.name && other.id == write.id;
        let at = self.writes.iter().position(same);
        if at.is_none() && write.expected == Expected::Version(0) {
            return Err(never_stored(write.collection, &write.id));
        }
        let earlier = at.and_then(|at| self.writes.get(at));
        let replaced = earlier.map_or(0, |earlier| earlier.change.bytes());
        let bytes = with_room(self.bytes.saturating_sub(replaced), write.change.bytes())?;
        if let Some(earlier) = at.and_then(|at| self.writes.get_mut(at)) {
            earlier.merge(write)?;
        } else if self.writes.len() < WRITES_PER_UNIT_MAX {
            self.writes.push(write);
        } else {
            return Err(too_many("writes", WRITES_PER_UNIT_MAX));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Buffers a guard. A document that the unit writes needs none: the write expects the same.
    ///
    /// # Errors
    /// `Conflict` when the unit writes or guards the document at another version, `AlreadyExists`
    /// when it adds what the handler has loaded, `NotFound` for what only another unit has added,
    /// `LimitExceeded` past [`GUARDS_PER_UNIT_MAX`].
    pub fn guard(&mut self, guard: Guard) -> Result<()> {
        if let Some(write) = self.write_of(guard.collection, &guard.id) {
            return match write.seen_version() == guard.version {
                true => Ok(()),
                false => Err(write.seen_otherwise(guard.version)),
            };
        }
        if guard.version == 0 {
            return Err(never_stored(guard.collection, &guard.id));
        }
        if let Some(known) = self.guards.iter().find(|known| known.is_of_same(&guard)) {
            return match known.version == guard.version {
                true => Ok(()),
                false => Err(known.seen_otherwise(guard.version)),
            };
        }
        if self.guards.len() >= GUARDS_PER_UNIT_MAX {
            return Err(too_many("guards", GUARDS_PER_UNIT_MAX));
        }
        self.guards.push(guard);
        Ok(())
    }

    /// Buffers a message.
    ///
    /// # Errors
    /// `LimitExceeded` past [`MESSAGES_PER_UNIT_MAX`] and [`UNIT_BYTES_MAX`].
    #[inline]
    pub fn enqueue(&mut self, envelope: Envelope) -> Result<()> {
        if self.outbox.len() >= MESSAGES_PER_UNIT_MAX {
            return Err(too_many("messages", MESSAGES_PER_UNIT_MAX));
        }
        self.bytes = with_room(self.bytes, envelope.payload.len())?;
        self.outbox.push(envelope);
        Ok(())
    }

    /// Has the reply remembered with the rest.
    ///
    /// # Errors
    /// `LimitExceeded` past [`UNIT_BYTES_MAX`].
    pub fn remember(&mut self, reply: SavedReply) -> Result<()> {
        self.bytes = with_room(self.bytes, reply.body.len())?;
        self.reply = Some(reply);
        Ok(())
    }
}

/// The error of a handler that saw a document in another unit of work, before that was committed.
fn never_stored(collection: &Collection, id: &Value) -> Error {
    Error::not_found(format!(
        "{}/{id} was added by another unit of work and is not stored as it was seen there: load it",
        collection.name
    ))
}

/// What a unit of `held` bytes holds with `added` more.
fn with_room(held: usize, added: usize) -> Result<usize> {
    let bytes = held.saturating_add(added);
    if bytes <= UNIT_BYTES_MAX {
        return Ok(bytes);
    }
    let message = format!(
        "a unit of work holds at most {UNIT_BYTES_MAX} bytes of documents, messages and reply, \
         and this would make it {bytes}; split the work over several messages"
    );
    Err(Error::limit_exceeded(message).with_retry(Retry::Never))
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
    use crate::id::MessageId;
    use crate::message::Metadata;
    use crate::store::{Change, FINGERPRINT_BYTES, Fingerprint};
    use bytes::Bytes;

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

    /// `megabytes` of data that costs no memory for each copy.
    fn data(megabytes: usize) -> Bytes {
        static ZEROS: [u8; 16 << 20] = [0; 16 << 20];
        Bytes::from_static(&ZEROS[..megabytes << 20])
    }

    fn put(id: i64, data: Bytes) -> Write {
        let change = Change::Put { data, index: Vec::new() };
        Write::new(NOTES, Value::Int(id), Expected::Absent, change)
    }

    fn reply(megabytes: usize) -> SavedReply {
        let request = Fingerprint::from_bytes(&[0; FINGERPRINT_BYTES]).unwrap();
        SavedReply::new("place", "k".to_owned(), request, data(megabytes))
    }

    fn message(payload: Bytes) -> Envelope {
        let metadata = Metadata::new(MessageId::from_foreign("a", "1"), "orders.placed", "orders");
        Envelope::new(metadata, payload)
    }

    #[test]
    fn a_unit_holds_a_bounded_number_of_bytes_of_every_kind() {
        let mut unit = UnitOfWork::default();
        unit.write(put(1, data(16))).unwrap();
        unit.enqueue(message(data(15))).unwrap();
        unit.enqueue(message(data(15))).unwrap();
        unit.remember(reply(10)).unwrap();
        unit.enqueue(message(data(8))).unwrap();
        for error in [
            unit.write(put(2, data(1))).unwrap_err(),
            unit.enqueue(message(data(1))).unwrap_err(),
            unit.remember(reply(1)).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
            let text = error.to_string();
            assert!(text.contains("at most 67108864 bytes"), "{text}");
            assert!(text.contains("split the work over several messages"), "{text}");
        }
        assert_eq!((unit.writes.len(), unit.outbox.len()), (1, 3));
    }

    #[test]
    fn a_document_that_is_put_again_counts_once() {
        let mut unit = UnitOfWork::default();
        unit.write(put(1, data(16))).unwrap();
        for _ in 0..10 {
            let again = Write { expected: Expected::Version(0), ..put(1, data(16)) };
            unit.write(again).unwrap();
        }
        assert_eq!(unit.bytes, 16 << 20);
        let removed = Write::new(NOTES, Value::Int(1), Expected::Version(0), Change::Remove);
        unit.write(removed).unwrap();
        assert_eq!(unit.bytes, 0);
    }
}
