//! Ports of a store, one file for each.

mod commit;
mod document;
mod fingerprint;
mod identity;
mod inbox;
mod lease;
mod outbox;
mod parking;
mod receipt;
mod transaction;
mod unit;
mod write;

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use crate::Result;
use crate::capabilities::StoreCapabilities;
use crate::criteria::Collection;
use crate::message::ContextName;

pub use commit::{CommitOutcome, CommitStore, CommitToken};
pub use document::{Document, DocumentStore, Found, LOAD_BYTES_MAX, LOAD_IDS_MAX};
pub use fingerprint::{FINGERPRINT_BYTES, Fingerprint};
pub use identity::StoreId;
pub use inbox::{InboxStore, KnownReply, SavedReply};
pub use lease::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, LeaseStore};
pub use outbox::{
    OUTBOX_READ_BYTES_MAX, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxRecord,
    OutboxStore, RecordId, UnreadableRecord,
};
pub use parking::{
    DeadLetter, DeadLetterReason, DeadLetterStore, Failure, ParkedMessage, ParkingStore,
};
pub use receipt::{Origin, Outcome, Receipt};
pub use transaction::OpenTransaction;
pub use unit::{
    GUARDS_PER_UNIT_MAX, MESSAGES_PER_UNIT_MAX, UNIT_BYTES_MAX, UnitOfWork, WRITES_PER_UNIT_MAX,
};
pub use write::{Change, Expected, Guard, Write};

/// One bounded context's share of a database.
///
/// All methods may be called concurrently. Unless a method says otherwise, dropping its future early
/// has no effect or the whole effect, never a part of it.
#[async_trait]
pub trait Store:
    Any
    + DocumentStore
    + CommitStore
    + OutboxStore
    + InboxStore
    + ParkingStore
    + DeadLetterStore
    + LeaseStore
{
    /// What this store can do.
    fn capabilities(&self) -> StoreCapabilities;

    /// What tells this context's data from that of another database. All opens of one have the same.
    fn identity(&self) -> StoreId;

    /// Checks that the database responds.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    async fn ping(&self) -> Result<()>;
}

/// A database that holds the shares of one or more contexts.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Migrates the share of one context to what this build needs, and opens it.
    ///
    /// Safe to repeat, and to call from several instances at once.
    ///
    /// # Errors
    /// `Misconfigured` when the schema was made by a newer, incompatible build or is not Mamey's;
    /// `Unavailable` when the database cannot be reached.
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>>;

    /// Describes the location for people and logs, without secrets.
    fn describe(&self) -> String;

    /// Finishes the commits that have begun, and closes all connections. Later calls fail.
    async fn close(&self);
}

/// What one context needs of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema {
    /// The context.
    pub context: ContextName,
    /// Its collections.
    pub collections: Vec<&'static Collection>,
}

impl Schema {
    /// What `context` needs for these collections.
    #[must_use]
    pub const fn new(context: ContextName, collections: Vec<&'static Collection>) -> Self {
        Self { context, collections }
    }
}
