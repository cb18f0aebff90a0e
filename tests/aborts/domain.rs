//! A sender of numbered steps and a receiver that counts them, some of which end its process.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use mamey::{
    Aggregate, Backoff, BoundedContext, Command, Context, Criteria, Error, Query, ReadContext,
    Result, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use crate::step::{ARMED, FOLDER, How, OPEN, Step};

/// The context that receives.
pub const RECEIVER: &str = "aborts-receiver";

/// How many handlers wait in this process.
pub static WAITING: AtomicU64 = AtomicU64::new(0);

/// Sends steps, in one commit.
#[derive(Clone, Command, Serialize)]
pub struct Send {
    pub steps: Vec<Step>,
}

/// What took effect of one key's steps.
#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "received")]
struct Received {
    #[aggregate(id)]
    key: String,
    last: u64,
    handled: u64,
    out_of_order: u64,
}

/// Asks the receiver for its counts over all keys.
#[derive(Query)]
#[query(reply = Tally)]
pub struct Count;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub handled: u64,
    /// Steps that took effect after a later one of their key, or twice.
    pub out_of_order: u64,
}

async fn send(command: Send, cx: &Context) -> Result<()> {
    command.steps.iter().try_for_each(|step| cx.publish(step))
}

async fn on_step(step: Step, cx: &Context) -> Result<()> {
    let is_there =
        |file| std::env::var_os(FOLDER).is_some_and(|it| PathBuf::from(it).join(file).exists());
    match step.how {
        How::FailThenAbort | How::FailThenWait if !is_there(ARMED) => {
            return Err(Error::other("not armed yet"));
        }
        How::Abort | How::FailThenAbort => std::process::abort(),
        How::OverflowTheStack => {
            std::hint::black_box(deeper(1));
        }
        How::Wait | How::FailThenWait => {
            WAITING.fetch_add(1, Ordering::AcqRel);
            while !is_there(OPEN) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            WAITING.fetch_sub(1, Ordering::AcqRel);
        }
        How::Handle => {}
    }
    let Step { key, number, .. } = step;
    let all = cx.repository::<Received>();
    let Some(mut found) = all.get(&key).await? else {
        return all.add(&Received { key, last: number, handled: 1, out_of_order: 0 });
    };
    found.out_of_order += u64::from(number <= found.last);
    found.handled += 1;
    found.last = number;
    all.save(&found)
}

#[allow(unconditional_recursion, reason = "it is to end the process")]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    deeper(frame[0] + 1) + frame[1]
}

async fn count(_: Count, cx: &ReadContext) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut all = pin!(cx.repository::<Received>().stream(Criteria::all()));
    while let Some(received) = all.try_next().await? {
        tally.handled += received.handled;
        tally.out_of_order += received.out_of_order;
    }
    Ok(tally)
}

pub fn sender() -> BoundedContext {
    BoundedContext::new("aborts-sender").command(send).publishes::<Step>()
}

pub fn receiver() -> BoundedContext {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(200));
    BoundedContext::new(RECEIVER)
        .aggregate::<Received>()
        .query(count)
        .on(on_step)
        .retry(RetryPolicy::new(0, 100_000, backoff))
        .timeout(Duration::from_secs(600))
}
