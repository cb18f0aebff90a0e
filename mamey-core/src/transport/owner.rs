//! Whose a context is: the store that its messages are handled in.

use std::fmt;

use crate::store::StoreId;

/// The store that a context's messages are handled in.
///
/// A transport refuses a context that another store owns: two would share its messages, each
/// handling a part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// What is compared.
    pub id: StoreId,
    /// The store's location for people, without secrets. It may change.
    pub store: String,
    /// Whether the store outlives the process. Only such a one owns a context on a broker.
    pub durable: bool,
}

impl Owner {
    /// A store that ends with the process.
    #[must_use]
    pub fn new(id: StoreId, store: impl Into<String>) -> Self {
        Self { id, store: store.into(), durable: false }
    }

    /// Whether the store outlives the process.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.store)
    }
}
