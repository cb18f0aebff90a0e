//! The place of the transaction that a handler opens for statements of its own.

use std::fmt;
use std::ops::{Deref, DerefMut};

use futures_util::lock::{Mutex, MutexGuard};

use crate::store::OpenTransaction;

/// The place of a handler's transaction, empty until it opens one.
#[derive(Default)]
pub(super) struct Transaction(Mutex<Option<OpenTransaction>>);

impl Transaction {
    /// The place, once nobody else has it.
    pub(super) async fn place(&self) -> TransactionPlace<'_> {
        TransactionPlace(self.0.lock().await)
    }

    /// The place, unless somebody has it.
    pub(super) fn free_place(&self) -> Option<TransactionPlace<'_>> {
        self.0.try_lock().map(TransactionPlace)
    }

    /// The place with a transaction in it, unless somebody has it.
    pub(super) fn open(&self) -> Option<TransactionPlace<'_>> {
        self.free_place().filter(|place| place.is_some())
    }
}

/// The place of a handler's transaction, held exclusively.
pub struct TransactionPlace<'c>(MutexGuard<'c, Option<OpenTransaction>>);

impl Deref for TransactionPlace<'_> {
    type Target = Option<OpenTransaction>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for TransactionPlace<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for TransactionPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransactionPlace").field(&*self.0).finish()
    }
}
