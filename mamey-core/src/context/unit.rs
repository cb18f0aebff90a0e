//! The unit of work of one handler call, shared by the context and its repositories.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Result;
use crate::criteria::{Collection, Value};
use crate::message::Envelope;
use crate::store::{Guard, UnitOfWork, Write};

/// A unit of work behind a lock that is held for one step only, never by a caller.
#[derive(Default)]
pub(super) struct SharedUnit(Mutex<UnitOfWork>);

impl SharedUnit {
    pub(super) fn write(&self, write: Write) -> Result<()> {
        self.lock().write(write)
    }

    pub(super) fn guard(&self, guard: Guard) -> Result<()> {
        self.lock().guard(guard)
    }

    #[inline]
    pub(super) fn enqueue(&self, envelope: Envelope) -> Result<()> {
        self.lock().enqueue(envelope)
    }

    /// A copy of the buffered write of a document; its data is shared, not copied.
    pub(super) fn write_of(&self, collection: &Collection, id: &Value) -> Option<Write> {
        self.lock().write_of(collection, id).cloned()
    }

    pub(super) fn outbox(&self) -> Vec<Envelope> {
        self.lock().outbox.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// What was buffered; nothing is left.
    #[inline]
    pub(super) fn take(&self) -> UnitOfWork {
        std::mem::take(&mut *self.lock())
    }

    /// A poisoned lock is used too: after a panic the unit is dropped in any case.
    fn lock(&self) -> MutexGuard<'_, UnitOfWork> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
