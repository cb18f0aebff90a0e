//! Two contexts for the tests: a sender that emits numbers, and a receiver that records them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, Event, Message, MessageHandler, Query,
    ReadContext, Rejection, Result, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Saves one number of a stream, and emits it.
#[derive(Clone, Command, Serialize)]
#[command(reply = i64)]
pub struct Emit {
    pub stream: String,
    pub number: i64,
}

/// Emits, saves, and then fails: none of it may be visible.
#[derive(Clone, Command)]
pub struct EmitAndFail {
    pub stream: String,
}

/// Increments a counter that many callers share.
#[derive(Clone, Command, Serialize)]
#[command(reply = i64)]
pub struct Increment {
    pub counter: String,
}

/// Sends a message to a context by name.
#[derive(Clone, Command)]
pub struct Poke {
    pub target: String,
}

#[derive(Query)]
#[query(reply = Vec<i64>)]
pub struct Emissions(pub String);

#[derive(Query)]
#[query(reply = Vec<i64>)]
pub struct Received(pub String);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "sender.emitted", key = stream)]
pub struct EmittedV1 {
    pub stream: String,
}

/// The current shape; the old one had no number.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "sender.emitted", version = 2, key = stream, from = EmittedV1)]
pub struct Emitted {
    pub stream: String,
    pub number: i64,
}

impl From<EmittedV1> for Emitted {
    fn from(old: EmittedV1) -> Self {
        Self { stream: old.stream, number: -1 }
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(name = "sender.poked")]
pub struct Poked {
    pub by: String,
}

/// The numbers of one stream, in the order in which they were recorded.
#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "streams")]
pub struct Stream {
    #[aggregate(id)]
    pub name: String,
    pub numbers: Vec<i64>,
}

#[derive(Debug, thiserror::Error, Rejection)]
#[error("number {0} is refused")]
#[rejection(code = "receiver.refused")]
pub struct Refused(pub i64);

/// What the receiver does with a number instead of recording it.
#[derive(Clone, Copy)]
pub enum Fault {
    Fail,
    Refuse,
    Panic,
    Hang,
    Cancel,
}

/// The faults to inject, by number, and a gate that can hold all handlers.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Faults>>, Arc<watch::Sender<bool>>, Arc<AtomicUsize>);

#[derive(Default)]
struct Faults {
    by_number: HashMap<i64, (Fault, u32)>,
    /// The share of runs that fail at random, in percent.
    percent: u8,
}

impl Script {
    pub fn fault(&self, number: i64, fault: Fault, times: u32) {
        self.0.lock().unwrap().by_number.insert(number, (fault, times));
    }

    pub fn fail_at_random(&self, percent: u8) {
        self.0.lock().unwrap().percent = percent;
    }

    /// Holds every handler from now on, until `let_go`.
    pub fn hold(&self) {
        self.1.send_replace(true);
    }

    pub fn let_go(&self) {
        self.1.send_replace(false);
    }

    /// How many handlers are held.
    pub fn held(&self) -> usize {
        self.2.load(Ordering::SeqCst)
    }

    async fn pass_gate(&self) {
        let _held = Held::new(&self.2);
        let mut gate = self.1.subscribe();
        gate.wait_for(|held| !held).await.unwrap();
    }

    fn next(&self, number: i64) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap();
        if fastrand::u8(0..100) < faults.percent {
            return Some(Fault::Fail);
        }
        let (fault, times) = faults.by_number.get_mut(&number)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }
}

/// Counts a handler as held until it passes the gate or is dropped.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn sender() -> BoundedContext {
    BoundedContext::new("sender")
        .aggregate::<Stream>()
        .command(emit)
        .command(emit_and_fail)
        .command(increment)
        .command(poke)
        .query(emissions)
        .conflict_retries(100)
        .publishes::<Emitted>()
}

pub fn receiver(script: &Script) -> BoundedContext {
    BoundedContext::new("receiver")
        .aggregate::<Stream>()
        .on(Record(script.clone()))
        .on(on_poked)
        .query(received)
        .timeout(Duration::from_millis(300))
        .retry(quick_retries())
}

/// Two immediate runs, then three with pauses of a few milliseconds.
pub fn quick_retries() -> RetryPolicy {
    let mut policy = RetryPolicy::default().with_immediate(1).with_delayed(3);
    policy.backoff.first = Duration::from_millis(20);
    policy.backoff.max = Duration::from_millis(100);
    policy
}

async fn emit(command: Emit, cx: &Context) -> Result<i64> {
    let Emit { stream, number } = command;
    append(cx, &stream, number).await?;
    cx.publish(&Emitted { stream, number })?;
    Ok(number)
}

async fn emit_and_fail(command: EmitAndFail, cx: &Context) -> Result<()> {
    append(cx, &command.stream, 0).await?;
    cx.publish(&Emitted { stream: command.stream, number: 0 })?;
    Err(Error::other("changed its mind"))
}

async fn increment(command: Increment, cx: &Context) -> Result<i64> {
    append(cx, &command.counter, 1).await
}

async fn poke(command: Poke, cx: &Context) -> Result<()> {
    cx.send(&command.target, &Poked { by: cx.name().to_string() })
}

async fn emissions(query: Emissions, cx: &ReadContext) -> Result<Vec<i64>> {
    numbers(cx, &query.0).await
}

async fn received(query: Received, cx: &ReadContext) -> Result<Vec<i64>> {
    numbers(cx, &query.0).await
}

async fn on_poked(message: Poked, cx: &Context) -> Result<()> {
    append(cx, &message.by, 1).await.map(|_| ())
}

/// A handler with a dependency: the script.
struct Record(Script);

impl MessageHandler<Emitted> for Record {
    async fn handle(&self, event: Emitted, cx: &Context) -> Result<()> {
        // The effect comes first, so that there is something to undo after a fault.
        append(cx, &event.stream, event.number).await?;
        self.0.pass_gate().await;
        match self.0.next(event.number) {
            None => Ok(()),
            Some(Fault::Fail) => Err(Error::other("the script says fail")),
            Some(Fault::Refuse) => Err(Refused(event.number).into()),
            Some(Fault::Panic) => panic!("the script says panic"),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Cancel) => Err(Error::cancelled("the script says cancel")),
        }
    }
}

/// Records a number, and returns how many there are.
pub async fn append(cx: &Context, name: &String, number: i64) -> Result<i64> {
    let streams = cx.repository::<Stream>();
    match streams.get(name).await? {
        Some(mut stream) => {
            stream.numbers.push(number);
            streams.save(&stream)?;
            Ok(stream.numbers.len() as i64)
        }
        None => {
            streams.add(&Stream { name: name.clone(), numbers: vec![number] })?;
            Ok(1)
        }
    }
}

async fn numbers(cx: &ReadContext, name: &String) -> Result<Vec<i64>> {
    let stream = cx.repository::<Stream>().get(name).await?;
    Ok(stream.map(|stream| stream.numbers.clone()).unwrap_or_default())
}
