//! The transaction that a handler opened for statements of its own, of a kind only its store knows.

use std::any::Any;
use std::fmt;

/// A database transaction that a handler opened, of a type that only its store knows. It is rolled
/// back when it is dropped.
pub struct OpenTransaction(Box<dyn Any + Send + Sync>);

impl OpenTransaction {
    /// Hides a store's own transaction.
    pub fn new(transaction: impl Any + Send + Sync) -> Self {
        Self(Box::new(transaction))
    }

    /// The transaction, when it is of this kind.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// The transaction, to be worked with, when it is of this kind.
    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.0.downcast_mut()
    }

    /// Takes the transaction out, when it is of this kind.
    #[must_use]
    pub fn take<T: Any>(self) -> Option<T> {
        let transaction: Box<dyn Any> = self.0;
        transaction.downcast().ok().map(|transaction| *transaction)
    }
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTransaction")
    }
}
