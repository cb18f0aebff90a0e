//! A sender that numbers the messages of each stream, and a receiver that counts what is wrong.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use mamey::{
    Aggregate, BoundedContext, Command, Context, Criteria, Event, Query, ReadContext, Result,
};
use serde::{Deserialize, Serialize};

/// The context that receives; its partition queues have its name.
pub const RECEIVER: &str = "fault-receiver";

/// Sends the next `count` messages of a stream, in one commit.
#[derive(Clone, Command)]
pub struct Emit {
    pub stream: u32,
    pub count: u64,
    pub handling_ms: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "fault-sender.emitted", key = stream, must_route)]
struct Emitted {
    stream: u32,
    number: u64,
    /// How long the receiver takes to handle it.
    handling_ms: u64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "streams")]
struct Stream {
    #[aggregate(id)]
    stream: u32,
    last: u64,
}

/// What was received of one stream.
#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "received")]
struct Received {
    #[aggregate(id)]
    stream: u32,
    last: u64,
    handled: u64,
    out_of_order: u64,
}

/// Asks the receiver for its counts over all streams.
#[derive(Query)]
#[query(reply = Tally)]
pub struct Count;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub handled: u64,
    /// Messages that were not handled right after their predecessor.
    pub out_of_order: u64,
}

async fn emit(command: Emit, cx: &Context) -> Result<()> {
    let Emit { stream, count, handling_ms } = command;
    let streams = cx.repository::<Stream>();
    let found = streams.get(&stream).await?;
    let last = found.as_ref().map_or(0, |found| found.last);
    for number in last + 1..=last + count {
        cx.publish(&Emitted { stream, number, handling_ms })?;
    }
    let last = last + count;
    match found {
        Some(mut found) => {
            found.last = last;
            streams.save(&found)
        }
        None => streams.add(&Stream { stream, last }),
    }
}

async fn on_emitted(event: Emitted, cx: &Context) -> Result<()> {
    let Emitted { stream, number, handling_ms } = event;
    let all = cx.repository::<Received>();
    let found = all.get(&stream).await?;
    if handling_ms > 0 {
        tokio::time::sleep(Duration::from_millis(handling_ms)).await;
    }
    let Some(mut found) = found else {
        let out_of_order = u64::from(number != 1);
        return all.add(&Received { stream, last: number, handled: 1, out_of_order });
    };
    found.out_of_order += u64::from(number != found.last + 1);
    found.handled += 1;
    found.last = number;
    all.save(&found)
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
    BoundedContext::new("fault-sender").aggregate::<Stream>().command(emit).publishes::<Emitted>()
}

pub fn receiver() -> BoundedContext {
    BoundedContext::new(RECEIVER).aggregate::<Received>().query(count).on(on_emitted)
}
