//! A store that is never available: a call that commits nothing does not need it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::criteria::{Collection, Filter, Find, Value};
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, MessageIdentity, Partition};
use mamey_core::store::{
    CommitOutcome, CommitStore, DeadLetter, DeadLetterStore, Document, DocumentStore, Found,
    Holdings, InboxStore, InstanceId, KnownReply, Lease, LeaseRequest, LeaseRole, LeaseStore,
    OutboxDepth, OutboxPage, OutboxRead, OutboxStore, ParkedMessage, ParkingStore, RecordId, Store,
    StoreId, UnitOfWork,
};
use mamey_core::{Error, Result};
use mamey_cqrs::{BoundedContext, ContextRuntime, Resources};

pub(crate) struct NoStore;

/// Opens a context on no store.
pub(crate) fn open(context: BoundedContext) -> Arc<ContextRuntime> {
    context.open(Resources::new(Arc::new(NoStore))).unwrap()
}

fn unavailable<T>() -> Result<T> {
    Err(Error::unavailable("there is no store"))
}

#[async_trait]
impl DocumentStore for NoStore {
    async fn load(
        &self,
        _: &'static Collection,
        _: &[Value],
        _: usize,
    ) -> Result<Vec<Option<Document>>> {
        unavailable()
    }

    async fn find(&self, _: &Find) -> Result<Found> {
        unavailable()
    }

    async fn count(&self, _: &'static Collection, _: &Filter) -> Result<u64> {
        unavailable()
    }
}

#[async_trait]
impl CommitStore for NoStore {
    async fn commit(&self, _: UnitOfWork) -> Result<CommitOutcome> {
        unavailable()
    }
}

#[async_trait]
impl OutboxStore for NoStore {
    async fn read_outbox(&self, _: OutboxRead<'_>) -> Result<OutboxPage> {
        unavailable()
    }

    async fn delete_published(&self, _: &[(Lease, RecordId)]) -> Result<u64> {
        unavailable()
    }

    async fn outbox_complete_to(&self, _: u64) -> Result<u64> {
        unavailable()
    }

    async fn outbox_changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        unavailable()
    }
}

#[async_trait]
impl InboxStore for NoStore {
    async fn was_received(&self, _: MessageIdentity) -> Result<bool> {
        unavailable()
    }

    async fn received_count(&self) -> Result<u64> {
        unavailable()
    }

    async fn saved_reply(&self, _: &str, _: &str) -> Result<Option<KnownReply>> {
        unavailable()
    }

    async fn expire_inbox(&self, _: Duration) -> Result<u64> {
        unavailable()
    }
}

#[async_trait]
impl ParkingStore for NoStore {
    async fn due_parked(&self, _: &[Partition], _: u32) -> Result<Vec<ParkedMessage>> {
        unavailable()
    }

    async fn next_due_in(&self, _: &[Partition]) -> Result<Option<Duration>> {
        unavailable()
    }

    async fn parked_count(&self) -> Result<u64> {
        unavailable()
    }
}

#[async_trait]
impl DeadLetterStore for NoStore {
    async fn dead_letters(&self, _: Option<MessageIdentity>, _: u32) -> Result<Vec<DeadLetter>> {
        unavailable()
    }

    async fn dead_letter(&self, _: MessageIdentity) -> Result<Option<DeadLetter>> {
        unavailable()
    }

    async fn replay_dead_letter(&self, _: MessageIdentity) -> Result<bool> {
        unavailable()
    }

    async fn discard_dead_letter(&self, _: MessageIdentity) -> Result<bool> {
        unavailable()
    }

    async fn dead_letter_count(&self) -> Result<u64> {
        unavailable()
    }
}

#[async_trait]
impl LeaseStore for NoStore {
    async fn hold_leases(&self, _: LeaseRequest) -> Result<Holdings> {
        unavailable()
    }

    async fn release_leases(&self, _: &[Lease]) -> Result<()> {
        unavailable()
    }

    async fn retire(&self, _: LeaseRole, _: InstanceId) -> Result<()> {
        unavailable()
    }
}

#[async_trait]
impl Store for NoStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::new("none", 0)
    }

    fn identity(&self) -> StoreId {
        StoreId::new(MessageId::from_foreign("tests", "no store").as_uuid())
    }

    async fn ping(&self) -> Result<()> {
        unavailable()
    }
}

/// A message as a consumer delivers it.
pub(crate) fn envelope(name: &'static str, version: u32, payload: &'static str) -> Envelope {
    use mamey_core::message::Metadata;
    let id = MessageId::from_foreign("tests", payload);
    let metadata = Metadata::new(id, name, "elsewhere").with_version(version);
    Envelope::new(metadata, payload.into())
}
