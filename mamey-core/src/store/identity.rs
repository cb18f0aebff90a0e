//! What tells one database from another.

use std::fmt;

use uuid::Uuid;

/// What tells the data of a context from that of another database.
///
/// It is drawn at random when the context's share of the database is made, and is stored there. So
/// it stays through restarts, failovers and restores, and when a host or a database is renamed.
/// Whatever copies the data copies it too: a staging system on a copy has the identity of its
/// original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(Uuid);

impl StoreId {
    /// The identity that this UUID names.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
