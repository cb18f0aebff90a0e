//! A sender, and a ledger that keeps what it has received and retries nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mamey::{
    Aggregate, BoundedContext, Command, Context, Event, Invocation, InvocationKind, Layer, Next,
    Query, ReadContext, Result, RetryPolicy, async_trait,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Command, Serialize)]
#[command(reply = ())]
pub struct Emit {
    pub stream: String,
    pub number: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "sender.emitted", key = stream, must_route)]
struct Emitted {
    stream: String,
    number: i64,
}

/// Every number that was received, as often as it had an effect.
#[derive(Aggregate, Default, Serialize, Deserialize)]
#[aggregate(collection = "entries")]
struct Entries {
    #[aggregate(id)]
    stream: String,
    numbers: Vec<i64>,
}

#[derive(Query)]
#[query(reply = Vec<i64>)]
pub struct Received(pub String);

async fn emit(command: Emit, cx: &Context) -> Result<()> {
    let Emit { stream, number } = command;
    cx.publish(&Emitted { stream, number })
}

async fn on_emitted(event: Emitted, cx: &Context) -> Result<()> {
    let entries = cx.repository::<Entries>();
    if let Some(mut known) = entries.get(&event.stream).await? {
        known.numbers.push(event.number);
        return entries.save(&known);
    }
    entries.add(&Entries { stream: event.stream, numbers: vec![event.number] })
}

async fn received(query: Received, cx: &ReadContext) -> Result<Vec<i64>> {
    let known = cx.repository::<Entries>().get(&query.0).await?;
    Ok(known.map(|known| known.numbers.clone()).unwrap_or_default())
}

/// Counts the handling of messages that fails.
#[derive(Clone, Default)]
pub struct Failures(Arc<AtomicU64>);

impl Failures {
    pub fn reset(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Layer for Failures {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        let done = next.run(invocation).await;
        let failed = done.is_err() && invocation.kind == InvocationKind::Message;
        self.0.fetch_add(u64::from(failed), Ordering::SeqCst);
        done
    }
}

/// The ledger's first failure of its own would be a dead letter.
pub fn contexts(failures: &Failures) -> [BoundedContext; 2] {
    [
        BoundedContext::new("sender").command(emit).publishes::<Emitted>(),
        BoundedContext::new("ledger")
            .aggregate::<Entries>()
            .query(received)
            .on(on_emitted)
            .layer(failures.clone())
            .retry(RetryPolicy::NEVER),
    ]
}
