//! An open context with a clock that stands still and ids that count.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::{Clock, ManualClock, Timestamp};
use mamey_core::context::{Cause, Scope};
use mamey_core::id::{IdSource, SequentialIds};
use mamey_core::message::{Envelope, Metadata};
use mamey_core::store::{Database, InstanceId, LeaseRequest, LeaseRole, OutboxRead, OutboxRecord};
use mamey_core::{Context, Message, Result};
use serde::Serialize;

use crate::bounded_context::BoundedContext;
use crate::runtime::{ContextRuntime, Resources};

/// The time at which every scenario starts: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// The sender of the messages that a scenario delivers.
const SENDER: &str = "outside";

const RECORDS_PER_READ: u32 = 500;

/// Long enough for stepping through a test with a debugger.
const LEASE: Duration = Duration::from_hours(24);

#[derive(Clone)]
pub(super) struct World {
    pub(super) runtime: Arc<ContextRuntime>,
    pub(super) clock: Arc<ManualClock>,
    ids: Arc<SequentialIds>,
}

impl World {
    pub(super) async fn open(context: BoundedContext, database: &dyn Database) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(START));
        let ids = Arc::new(SequentialIds::default());
        let store = database.open(&context.schema()?).await?;
        let runtime = context.open(
            Resources::new(store)
                .with_clock(Arc::clone(&clock) as Arc<dyn Clock>)
                .with_ids(Arc::clone(&ids) as Arc<dyn IdSource>),
        )?;
        Ok(Self { runtime, clock, ids })
    }

    pub(super) fn scope(&self) -> Arc<Scope> {
        Arc::clone(self.runtime.scope())
    }

    pub(super) fn context(&self, cause: Cause) -> Context {
        Context::new(self.scope(), cause)
    }

    pub(super) async fn commit(&self, context: Context) -> Result<()> {
        let unit = context.take_unit()?;
        self.runtime.store().commit(unit).await.map(|_| ())
    }

    /// The message as it would arrive from another context.
    pub(super) fn envelope<M: Message + Serialize>(
        &self,
        message: &M,
        tenant: Option<Arc<str>>,
    ) -> Result<Envelope> {
        let id = self.ids.message_id();
        let metadata = Metadata::new(id, M::NAME, SENDER)
            .with_version(M::VERSION)
            .with_time(self.clock.now())
            .with_key(message.key())
            .with_tenant(tenant);
        let payload = message.encode()?;
        Ok(Envelope::new(metadata, payload))
    }

    /// The records in the outbox, in commit order.
    pub(super) async fn outbox(&self) -> Result<Vec<OutboxRecord>> {
        let store = self.runtime.store();
        let request = LeaseRequest::new(
            LeaseRole::Relay,
            InstanceId::new(mamey_core::id::new_uuid()),
            1,
            LEASE,
        );
        let holdings = store.hold_leases(request).await?;
        let mut found: Vec<OutboxRecord> = Vec::new();
        loop {
            let read = OutboxRead::new(&holdings.leases, RECORDS_PER_READ)
                .with_after(found.last().map_or(0, |record| record.sequence));
            let page = store.read_outbox(read).await?;
            found.extend(page.records);
            if !page.more {
                break;
            }
        }
        // The next read has another holder, which must find the partition free.
        store.retire(request.role, request.holder).await?;
        Ok(found)
    }
}

#[track_caller]
pub(super) fn or_panic<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("the test cannot continue: {error:?}"))
}
