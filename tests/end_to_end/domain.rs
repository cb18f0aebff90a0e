//! Two contexts for the tests: a sender that emits numbers, and a receiver that writes them down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, Event, Message, MessageHandler, Query,
    ReadContext, Rejection, Result, RetryPolicy,
};
use serde::{Deserialize, Serialize};

/// Emits one number on a stream, after saving that it did.
#[derive(Clone, Command)]
#[command(reply = i64)]
pub struct Emit {
    pub stream: String,
    pub number: i64,
}

/// Emits, saves, and then fails: nothing of it may be seen.
#[derive(Clone, Command)]
pub struct EmitAndFail {
    pub stream: String,
}

/// Adds to a counter that many callers share.
#[derive(Clone, Command)]
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

/// The numbers of one stream, in the order in which they were written down.
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

/// What the receiver does with a number, instead of writing it down, and how many times.
#[derive(Clone, Copy)]
pub enum Fault {
    Fail,
    Refuse,
    Panic,
    Hang,
}

/// The faults to come, by number.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<HashMap<i64, (Fault, u32)>>>);

impl Script {
    pub fn fault(&self, number: i64, fault: Fault, times: u32) {
        self.0.lock().unwrap().insert(number, (fault, times));
    }

    fn next(&self, number: i64) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap();
        let (fault, times) = faults.get_mut(&number)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
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
        .on(WriteDown(script.clone()))
        .on(on_poked)
        .query(received)
        .timeout(Duration::from_millis(300))
        .retry(quick_retries())
}

/// Two runs at once, then three with pauses of a few milliseconds.
pub fn quick_retries() -> RetryPolicy {
    let mut policy = RetryPolicy { immediate: 1, delayed: 3, ..RetryPolicy::default() };
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
struct WriteDown(Script);

impl MessageHandler<Emitted> for WriteDown {
    async fn handle(&self, event: Emitted, cx: &Context) -> Result<()> {
        // The effect comes first, so that a fault has something to undo.
        append(cx, &event.stream, event.number).await?;
        match self.0.next(event.number) {
            None => Ok(()),
            Some(Fault::Fail) => Err(Error::other("the script says fail")),
            Some(Fault::Refuse) => Err(Refused(event.number).into()),
            Some(Fault::Panic) => panic!("the script says panic"),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

async fn append(cx: &Context, name: &String, number: i64) -> Result<i64> {
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
