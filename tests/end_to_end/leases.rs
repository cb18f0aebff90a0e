//! What a consumer and a relay do when their leases are over, are lost, or are to be given back.
//!
//! The clock of the process runs only while everything waits, and that of the database stands still, so
//! what does not happen is seen not to happen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mamey::clock::ManualClock;
use mamey::inbound::{Inbound, Incoming};
use mamey::message::{ContextName, Envelope, Metadata, Partition};
use mamey::messaging::{Consumer, ConsumerOptions, MemoryTransport, Relay, RelayOptions};
use mamey::persistence::{MemoryDatabase, MemoryOptions};
use mamey::store::{
    CommitOutcome, Database, InstanceId, LeaseRequest, LeaseRole, Outcome, Receipt, Schema, Store,
    UnitOfWork,
};
use mamey::transport::{Settlement, Subscriber, Subscription, Topology, Transport};
use mamey::{Backoff, Error, MessageId, Result, RetryPolicy, Timestamp, Uuid};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::faults::{Connection, Faults};
use crate::world::until;

const NAME: &str = "elsewhere.happened";

/// How long leases hold, by either clock.
const LEASE: Duration = Duration::from_secs(30);

/// Longer than it takes to learn what another instance holds now.
const RENEWED: Duration = Duration::from_secs(15);

/// Long enough for anything that should not happen.
const A_WHILE: Duration = Duration::from_secs(5);

/// The pause before a failed message is retried.
const PAUSE: Duration = Duration::from_secs(10);

/// What a message meets in its first run, once it may end.
#[derive(Clone, Copy)]
enum Fault {
    /// Its handler fails.
    Fails,
    /// Something that is no handler's fault: the message is returned.
    Panics,
    /// Its handler fails, and its retry is refused because its lane is parked.
    FailsAndIsRefused,
    IsRefused,
}

/// Handles messages that are numbers. The first run of each ends when it is told to.
struct Steps {
    context: ContextName,
    store: Arc<dyn Store>,
    begun: Mutex<Vec<u32>>,
    ended: Mutex<Vec<u32>>,
    faults: Mutex<BTreeMap<u32, Fault>>,
    /// Up to which number they may end.
    ending: watch::Sender<u32>,
}

#[async_trait]
impl Inbound for Steps {
    fn context(&self) -> &ContextName {
        &self.context
    }

    fn handles(&self) -> Vec<&'static str> {
        vec![NAME]
    }

    fn retry_policy(&self, _: &str) -> RetryPolicy {
        RetryPolicy::new(0, u32::MAX, Backoff::new(PAUSE, PAUSE).with_jitter(0.0))
    }

    async fn handle(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        let envelope = incoming.envelope.clone();
        let number = number(&envelope);
        self.begun.lock().unwrap().push(number);
        let fault = self.faults.lock().unwrap().remove(&number);
        match fault {
            Some(Fault::Fails) => return Err(Error::other("on purpose")),
            Some(Fault::FailsAndIsRefused) => {
                self.faults.lock().unwrap().insert(number, Fault::IsRefused);
                return Err(Error::other("on purpose"));
            }
            Some(Fault::IsRefused) => return Ok(CommitOutcome::LaneParked),
            Some(Fault::Panics) | None => {}
        }
        self.ending.subscribe().wait_for(|ending| *ending >= number).await.unwrap();
        assert!(fault.is_none(), "on purpose");
        let locked = incoming.custody.lock().await;
        let receipt = Receipt::new(envelope, locked.origin(), Outcome::Handled);
        let outcome = self.store.commit(UnitOfWork::default().with_receipt(receipt)).await;
        self.ended.lock().unwrap().push(number);
        outcome
    }
}

impl Steps {
    fn begun(&self) -> Vec<u32> {
        self.begun.lock().unwrap().clone()
    }

    async fn until_begun(&self, numbers: &[u32]) {
        until(&format!("{numbers:?} have begun"), async || self.begun() == numbers).await;
    }

    async fn until_ended(&self, numbers: &[u32]) {
        let ended = async || *self.ended.lock().unwrap() == numbers;
        until(&format!("{numbers:?} have ended"), ended).await;
    }

    fn let_end(&self, number: u32) {
        self.ending.send_replace(number);
    }
}

fn number(envelope: &Envelope) -> u32 {
    std::str::from_utf8(&envelope.payload).unwrap().parse().unwrap()
}

/// A message of a lane in this partition of two.
fn message(number: u32, partition: u16) -> Envelope {
    let id = MessageId::from_foreign("elsewhere", &number.to_string());
    let with = |key: u32| {
        Metadata::new(id, NAME, "elsewhere").with_key(Some(key.to_string().as_str().into()))
    };
    let is_in = |it: &Metadata| Partition::of_slot(it.slot(), 2).unwrap().number() == partition;
    let metadata = (0..).map(with).find(is_in).unwrap();
    Envelope::new(metadata, number.to_string().into())
}

/// One instance's part of a database and a transport, which another instance shares.
struct Place {
    context: ContextName,
    clock: Arc<ManualClock>,
    faults: Faults,
    store: Arc<dyn Store>,
    transport: MemoryTransport,
    stop: CancellationToken,
}

impl Place {
    async fn new() -> Self {
        let context = ContextName::new("steps").unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1 << 50)));
        let options = MemoryOptions::default().with_clock(clock.clone());
        let database = Arc::new(MemoryDatabase::with_options(options));
        let faults = Faults::default();
        let connection = Connection { database, faults: faults.clone() };
        let store = connection.open(&Schema::new(context.clone(), Vec::new())).await.unwrap();
        let transport = MemoryTransport::new();
        let topology = Topology::new(context.clone(), 2).with_handles(vec![NAME]);
        transport.apply(&topology).await.unwrap();
        Self { context, clock, faults, store, transport, stop: CancellationToken::new() }
    }

    fn consume(&self, faults: &[(u32, Fault)]) -> Arc<Steps> {
        let steps = Arc::new(Steps {
            context: self.context.clone(),
            store: Arc::clone(&self.store),
            begun: Mutex::default(),
            ended: Mutex::default(),
            faults: Mutex::new(faults.iter().copied().collect()),
            ending: watch::Sender::new(0),
        });
        let options = ConsumerOptions::default()
            .with_partitions(2)
            .with_lease(LEASE)
            // No handler here is slow.
            .with_slow_after(Duration::from_hours(1));
        let transport = Arc::new(self.transport.clone());
        let consumer = Consumer::new(steps.clone(), Arc::clone(&self.store), transport, options);
        tokio::spawn(consumer.run(self.stop.clone()));
        steps
    }

    /// Relays what is sent to the receiver, in this order.
    async fn relay(&self, sent: impl IntoIterator<Item = Envelope>) {
        let unit = UnitOfWork::default().with_outbox(sent.into_iter().collect());
        self.store.commit(unit).await.unwrap();
        let options = RelayOptions::default().with_partitions(2).with_lease(LEASE);
        let relay = Relay::new(Arc::clone(&self.store), self.transport.publisher(), options);
        tokio::spawn(relay.run(self.stop.clone()));
    }

    /// Publishes in this order, without waiting until they are settled.
    async fn publish(&self, messages: impl IntoIterator<Item = Envelope>) {
        for envelope in messages {
            let publisher = self.transport.publisher();
            tokio::spawn(async move { publisher.publish(&envelope).await });
            tokio::task::yield_now().await;
        }
        // All that may be received is.
        sleep(Duration::from_secs(1)).await;
    }

    async fn receive(&self, partition: u16) -> Box<dyn Subscriber> {
        let partition = Partition::new(partition, 2).unwrap();
        let subscription = Subscription::new(self.context.clone(), partition, 10);
        self.transport.subscribe(&subscription).await.unwrap()
    }

    /// Another instance asks for its share, and is told how many partitions it has.
    async fn other_instance_holds(&self, role: LeaseRole) -> usize {
        let other = InstanceId::new(Uuid::from_u128(1));
        let request = LeaseRequest::new(role, other, 2, LEASE);
        self.store.hold_leases(request).await.unwrap().leases.len()
    }

    /// The leases of this instance end, as the database sees it, before it renews them; another one
    /// takes all partitions.
    async fn lose_all(&self, role: LeaseRole) {
        self.other_instance_holds(role).await;
        self.clock.advance(LEASE * 2);
        assert_eq!(self.other_instance_holds(role).await, 2);
        sleep(RENEWED).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_begins_nothing_when_its_leases_are_over() {
    let place = Place::new().await;
    let steps = place.consume(&[]);
    place.publish([message(1, 0), message(2, 0)]).await;
    steps.until_begun(&[1]).await;
    place.faults.lapse(true);
    sleep(LEASE * 2).await;
    steps.let_end(2);
    steps.until_ended(&[1]).await;
    sleep(A_WHILE).await;
    assert_eq!(steps.begun(), [1]);
    place.faults.lapse(false);
    steps.until_begun(&[1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_retries_nothing_when_its_leases_are_over() {
    let place = Place::new().await;
    let steps = place.consume(&[(1, Fault::Fails)]);
    place.publish([message(1, 0)]).await;
    until("it is parked", async || place.store.parked_count().await.unwrap() == 1).await;
    place.faults.lapse(true);
    sleep(LEASE * 2).await;
    place.clock.advance(PAUSE);
    sleep(A_WHILE).await;
    assert_eq!(steps.begun(), [1]);
    place.faults.lapse(false);
    steps.until_begun(&[1, 1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_leaves_a_partition_that_it_has_lost_at_once() {
    let place = Place::new().await;
    let steps = place.consume(&[]);
    place.publish([message(1, 0), message(2, 0)]).await;
    steps.until_begun(&[1]).await;
    place.lose_all(LeaseRole::Consumer).await;
    steps.let_end(2);
    steps.until_ended(&[1]).await;
    place.publish([message(3, 0)]).await;
    sleep(A_WHILE).await;
    assert_eq!(steps.begun(), [1]);
    let mut other = place.receive(0).await;
    for expected in [2, 3] {
        let delivery = timeout(A_WHILE, other.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(number(delivery.envelope()), expected);
        delivery.settle(Settlement::Ack);
    }
}

/// Handlers run in both partitions, either of new messages or of parked ones.
async fn is_given_back_when_it_is_idle(faults: &[(u32, Fault)], begun: &[u32]) {
    let place = Place::new().await;
    let steps = place.consume(faults);
    place.publish([message(1, 0), message(2, 1)]).await;
    place.clock.advance(PAUSE);
    steps.until_begun(begun).await;
    for _ in 0..2 {
        assert_eq!(place.other_instance_holds(LeaseRole::Consumer).await, 0);
        sleep(RENEWED).await;
    }
    assert_eq!(place.other_instance_holds(LeaseRole::Consumer).await, 0, "a handler runs in each");
    steps.let_end(2);
    let given_back = async || place.other_instance_holds(LeaseRole::Consumer).await == 1;
    until("one is given back", given_back).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_given_back_when_its_handlers_have_ended() {
    is_given_back_when_it_is_idle(&[], &[1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_given_back_when_its_retries_have_ended() {
    is_given_back_when_it_is_idle(&[(1, Fault::Fails), (2, Fault::Fails)], &[1, 2, 1, 2]).await;
}

/// Messages arrive at the moment at which the consumer learns that it is to give a partition back: some
/// have reached it already, and none may overtake those that it returns.
#[tokio::test(start_paused = true)]
async fn a_partition_that_is_being_given_back_takes_nothing_more() {
    for renewal in 1..=20 {
        let place = Place::new().await;
        let (start, steps) = (Instant::now(), place.consume(&[]));
        let at = start + LEASE / 3 * renewal;
        place.publish([message(1, 1), message(2, 1)]).await;
        steps.until_begun(&[1]).await;
        for number in 3..=60 {
            let publisher = place.transport.publisher();
            tokio::spawn(async move {
                sleep_until(at).await;
                publisher.publish(&message(number, 1)).await
            });
        }
        sleep_until(at - Duration::from_secs(1)).await;
        assert_eq!(place.other_instance_holds(LeaseRole::Consumer).await, 0);
        sleep_until(at + Duration::from_secs(1)).await;
        steps.let_end(60);
        steps.until_ended(&[1]).await;
        sleep(A_WHILE).await;
        assert_eq!(steps.begun(), [1], "renewal {renewal}");
        assert_eq!(place.other_instance_holds(LeaseRole::Consumer).await, 1);
        let mut other = place.receive(1).await;
        for expected in 2..=60 {
            let delivery = timeout(A_WHILE, other.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(number(delivery.envelope()), expected);
            delivery.settle(Settlement::Ack);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_returned_takes_along_what_waits_behind_it() {
    let place = Place::new().await;
    let steps = place.consume(&[(1, Fault::Panics)]);
    place.publish([message(1, 0), message(2, 0), message(3, 0)]).await;
    steps.until_begun(&[1]).await;
    steps.let_end(3);
    steps.until_ended(&[1, 2, 3]).await;
    assert_eq!(steps.begun(), [1, 1, 2, 3]);
}

/// No store refuses a parked message so today: this holds a consumer to what `Inbound` may answer.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_refused_stays_parked_as_it_was() {
    let place = Place::new().await;
    let steps = place.consume(&[(1, Fault::FailsAndIsRefused)]);
    place.publish([message(1, 0)]).await;
    until("it is parked", async || place.store.parked_count().await.unwrap() == 1).await;
    place.clock.advance(PAUSE);
    let due = async || place.store.due_parked(&Partition::all(2).unwrap(), 10).await.unwrap();
    let before = due().await;
    assert_eq!((before.len(), before[0].attempts), (1, 1));
    steps.until_begun(&[1, 1]).await;
    assert_eq!(due().await, before);
    steps.let_end(1);
    steps.until_ended(&[1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_publishes_nothing_when_its_leases_are_over() {
    let place = Place::new().await;
    let mut receiver = place.receive(0).await;
    place.relay([message(1, 0), message(2, 0)]).await;
    let first = receiver.next().await.unwrap().unwrap();
    place.faults.lapse(true);
    sleep(LEASE * 2).await;
    first.settle(Settlement::Ack);
    assert!(timeout(A_WHILE, receiver.next()).await.is_err(), "it goes on");
    place.faults.lapse(false);
    let second = receiver.next().await.unwrap().unwrap();
    assert_eq!(number(second.envelope()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_relay_leaves_a_partition_that_it_has_lost_at_once() {
    let place = Place::new().await;
    let mut receiver = place.receive(0).await;
    place.relay([message(1, 0), message(2, 0)]).await;
    let first = receiver.next().await.unwrap().unwrap();
    assert_eq!(number(first.envelope()), 1);
    place.lose_all(LeaseRole::Relay).await;
    first.settle(Settlement::Ack);
    assert!(timeout(A_WHILE, receiver.next()).await.is_err(), "it goes on");
    let depth = place.store.outbox_depth().await.unwrap();
    assert_eq!(depth.records, 2, "both are left to the other instance");
}
