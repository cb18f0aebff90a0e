//! A database with fault injection, which outlives the services that use it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mamey::capabilities::StoreCapabilities;
use mamey::criteria::{Collection, Filter, Find, Value};
use mamey::message::{MessageIdentity, Partition};
use mamey::store::{
    CommitOutcome, CommitStore, Database, DeadLetter, DeadLetterStore, Document, DocumentStore,
    Found, Holdings, InboxStore, InstanceId, KnownReply, Lease, LeaseRequest, LeaseRole,
    LeaseStore, OutboxDepth, OutboxPage, OutboxRead, OutboxStore, Outcome, ParkedMessage,
    ParkingStore, RecordId, Schema, Store, StoreId, UnitOfWork,
};
use mamey::{Error, Result};

/// A call that tests distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    CommitCommand,
    CommitHandled,
    CommitParked,
    CommitDeadLetter,
    ConfirmOutbox,
    RenewLeases,
    Ping,
    Other,
}

/// When the store goes down, relative to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before its effect.
    Before,
    /// After its effect, so that the caller does not know its outcome.
    After,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One call fails.
    NextCall,
    /// Everything fails until [`Faults::up`].
    Up,
}

/// The faults of one instance's connection to its database.
#[derive(Clone, Default)]
pub struct Faults(Arc<State>);

#[derive(Default)]
struct State {
    down: AtomicBool,
    /// Whatever a message brings is refused for good.
    refusing: AtomicBool,
    /// The share of calls that fail at random, in percent.
    flicker: AtomicU8,
    /// The faults to inject, one after the other.
    trips: Mutex<VecDeque<(Call, Moment, Until)>>,
    refused: AtomicUsize,
    refused_pings: AtomicUsize,
    holdings: Mutex<HashMap<(String, LeaseRole), usize>>,
    parked_counts: Mutex<Vec<u64>>,
}

impl Faults {
    /// The store goes down at the next such call, after all faults that were queued before.
    pub fn trip(&self, call: Call, moment: Moment, until: Until) {
        self.0.trips.lock().unwrap().push_back((call, moment, until));
    }

    pub fn has_tripped(&self) -> bool {
        self.0.trips.lock().unwrap().is_empty()
    }

    pub fn down(&self) {
        self.0.down.store(true, Ordering::SeqCst);
    }

    pub fn up(&self) {
        self.0.refused.store(0, Ordering::SeqCst);
        self.0.refused_pings.store(0, Ordering::SeqCst);
        self.0.down.store(false, Ordering::SeqCst);
    }

    /// Refuses to record any message, or no longer.
    pub fn refuse(&self, refusing: bool) {
        self.0.refusing.store(refusing, Ordering::SeqCst);
    }

    pub fn flicker(&self, percent: u8) {
        self.0.flicker.store(percent, Ordering::SeqCst);
    }

    /// How many calls have failed since the store went down.
    pub fn refused(&self) -> usize {
        self.0.refused.load(Ordering::SeqCst)
    }

    /// How many pings have failed since.
    pub fn refused_pings(&self) -> usize {
        self.0.refused_pings.load(Ordering::SeqCst)
    }

    /// How many partitions of a context were held after the last renewal.
    pub fn held(&self, context: &str, role: LeaseRole) -> usize {
        let holdings = self.0.holdings.lock().unwrap();
        holdings.get(&(context.to_owned(), role)).copied().unwrap_or_default()
    }

    /// The answers of `parked_count` so far.
    pub fn parked_counts(&self) -> Vec<u64> {
        self.0.parked_counts.lock().unwrap().clone()
    }

    fn pass(&self, call: Call, moment: Moment) -> Result<()> {
        let state = &self.0;
        if state.down.load(Ordering::SeqCst) {
            state.refused.fetch_add(1, Ordering::SeqCst);
            let pings = usize::from(call == Call::Ping);
            state.refused_pings.fetch_add(pings, Ordering::SeqCst);
            return Err(Error::unavailable("the store is down"));
        }
        let mut trips = state.trips.lock().unwrap();
        let due = trips.pop_front_if(|(at, when, _)| (*at, *when) == (call, moment));
        if let Some((_, _, until)) = due {
            state.down.store(until == Until::Up, Ordering::SeqCst);
            return Err(Error::unavailable("the store failed"));
        }
        drop(trips);
        if fastrand::u8(0..100) < state.flicker.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the store flickers"));
        }
        Ok(())
    }

    async fn through<T>(&self, call: Call, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.pass(call, Moment::Before)?;
        let done = work.await;
        self.pass(call, Moment::After)?;
        done
    }
}

/// A connection to a database. Closing it leaves the database open for others.
pub struct Connection {
    pub database: Arc<dyn Database>,
    pub faults: Faults,
}

#[async_trait]
impl Database for Connection {
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>> {
        let opening = self.database.open(schema);
        let store = self.faults.through(Call::Other, opening).await?;
        let context = schema.context.to_string();
        Ok(Arc::new(Unreliable { store, context, faults: self.faults.clone() }))
    }

    fn describe(&self) -> String {
        self.database.describe()
    }

    async fn close(&self) {}
}

struct Unreliable {
    store: Arc<dyn Store>,
    context: String,
    faults: Faults,
}

fn call_of(unit: &UnitOfWork) -> Call {
    match unit.receipt.as_ref().map(|receipt| &receipt.outcome) {
        None => Call::CommitCommand,
        Some(Outcome::Handled) => Call::CommitHandled,
        Some(Outcome::Park { .. }) => Call::CommitParked,
        Some(Outcome::DeadLetter { .. }) => Call::CommitDeadLetter,
    }
}

/// Implements a port by forwarding its calls, through the faults.
macro_rules! unreliable {
    ($port:ident {$($name:ident($($arg:ident: $type:ty),*) -> $reply:ty;)*}) => {
        #[async_trait]
        impl $port for Unreliable {$(
            async fn $name(&self $(, $arg: $type)*) -> Result<$reply> {
                self.faults.through(Call::Other, self.store.$name($($arg),*)).await
            }
        )*}
    };
}

#[async_trait]
impl Store for Unreliable {
    fn capabilities(&self) -> StoreCapabilities {
        self.store.capabilities()
    }

    fn identity(&self) -> StoreId {
        self.store.identity()
    }

    async fn ping(&self) -> Result<()> {
        self.faults.through(Call::Ping, self.store.ping()).await
    }
}

#[async_trait]
impl CommitStore for Unreliable {
    async fn commit(&self, unit: UnitOfWork) -> Result<CommitOutcome> {
        if unit.receipt.is_some() && self.faults.0.refusing.load(Ordering::SeqCst) {
            return Err(Error::invalid("the store can never keep it"));
        }
        self.faults.through(call_of(&unit), self.store.commit(unit)).await
    }
}

#[async_trait]
impl LeaseStore for Unreliable {
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings> {
        let holding = self.store.hold_leases(request);
        let holdings = self.faults.through(Call::RenewLeases, holding).await?;
        let key = (self.context.clone(), request.role);
        self.faults.0.holdings.lock().unwrap().insert(key, holdings.leases.len());
        Ok(holdings)
    }

    async fn release_leases(&self, leases: &[Lease]) -> Result<()> {
        self.faults.through(Call::Other, self.store.release_leases(leases)).await
    }

    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()> {
        self.faults.through(Call::Other, self.store.retire(role, holder)).await
    }
}

#[async_trait]
impl ParkingStore for Unreliable {
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>> {
        let due = self.store.due_parked(partitions, limit);
        self.faults.through(Call::Other, due).await
    }

    async fn next_due_in(&self, partitions: &[Partition]) -> Result<Option<Duration>> {
        self.faults.through(Call::Other, self.store.next_due_in(partitions)).await
    }

    async fn parked_count(&self) -> Result<u64> {
        let count = self.faults.through(Call::Other, self.store.parked_count()).await?;
        self.faults.0.parked_counts.lock().unwrap().push(count);
        Ok(count)
    }
}

#[async_trait]
impl OutboxStore for Unreliable {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage> {
        self.faults.through(Call::Other, self.store.read_outbox(read)).await
    }

    async fn delete_published(&self, confirmed: &[(Lease, RecordId)]) -> Result<u64> {
        let confirming = self.store.delete_published(confirmed);
        self.faults.through(Call::ConfirmOutbox, confirming).await
    }

    async fn outbox_complete_to(&self, read_to: u64) -> Result<u64> {
        self.faults.through(Call::Other, self.store.outbox_complete_to(read_to)).await
    }

    async fn outbox_changed(&self) {
        self.store.outbox_changed().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        self.faults.through(Call::Other, self.store.outbox_depth()).await
    }
}

unreliable! {
    DocumentStore {
        load(collection: &'static Collection, ids: &[Value], bytes_max: usize) -> Vec<Option<Document>>;
        find(find: &Find) -> Found;
        count(collection: &'static Collection, filter: &Filter) -> u64;
    }
}

unreliable! {
    InboxStore {
        was_received(message: MessageIdentity) -> bool;
        received_count() -> u64;
        saved_reply(command: &str, key: &str) -> Option<KnownReply>;
        expire_inbox(window: Duration) -> u64;
    }
}

unreliable! {
    DeadLetterStore {
        dead_letters(after: Option<MessageIdentity>, limit: u32) -> Vec<DeadLetter>;
        dead_letter(message: MessageIdentity) -> Option<DeadLetter>;
        replay_dead_letter(message: MessageIdentity) -> bool;
        discard_dead_letter(message: MessageIdentity) -> bool;
        dead_letter_count() -> u64;
    }
}
