//! The ledger as two builds of it: each reads messages that the other does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::{
    Aggregate, Backoff, BoundedContext, Context, Error, Event, MessageHandler, Query, ReadContext,
    Result, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use crate::till::Charged;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Build {
    Old,
    New,
}

/// One message that took effect, and the build that handled it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub number: u32,
    pub by: Build,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "accounts")]
struct Account {
    #[aggregate(id)]
    name: String,
    entries: Vec<Entry>,
}

#[derive(Query)]
#[query(reply = Vec<Entry>)]
pub struct Entries(pub String);

async fn entries(query: Entries, cx: &ReadContext) -> Result<Vec<Entry>> {
    let account = cx.repository::<Account>().get(&query.0).await?;
    Ok(account.map(|account| account.entries.clone()).unwrap_or_default())
}

async fn enter(cx: &Context, account: String, number: u32, by: Build) -> Result<()> {
    let (accounts, entry) = (cx.repository::<Account>(), Entry { number, by });
    match accounts.get(&account).await? {
        Some(mut found) => {
            found.entries.push(entry);
            accounts.save(&found)
        }
        None => accounts.add(&Account { name: account, entries: vec![entry] }),
    }
}

/// As long as any test needs.
pub fn patient() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    RetryPolicy::new(1, 10_000, backoff)
}

/// Three pauses, after more runs at once than there are pauses.
pub fn short() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
    RetryPolicy::new(5, 3, backoff)
}

fn ledger(retry: RetryPolicy) -> BoundedContext {
    BoundedContext::new("ledger").aggregate::<Account>().query(entries).retry(retry)
}

/// The build that is replaced.
pub mod old {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub enum Way {
        Slow,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.moved", key = account)]
    pub struct Moved {
        pub account: String,
        pub number: u32,
        pub way: Way,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.priced", key = account)]
    pub struct Priced {
        pub account: String,
        pub number: u32,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.settled", key = account)]
    pub struct Settled {
        pub account: String,
        pub number: u32,
    }

    async fn on_charged(event: Charged, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::Old).await
    }

    async fn on_moved(event: Moved, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::Old).await
    }

    async fn on_priced(event: Priced, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::Old).await
    }

    async fn on_settled(event: Settled, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::Old).await
    }

    pub fn build(retry: RetryPolicy) -> BoundedContext {
        ledger(retry).on(on_charged).on(on_moved).on(on_priced).on(on_settled)
    }
}

/// The build that replaces it: one more handler, variant, version and required field.
pub mod new {
    use super::*;

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.refunded", key = account)]
    pub struct Refunded {
        pub account: String,
        pub number: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub enum Way {
        Slow,
        Swift,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.moved", key = account)]
    pub struct Moved {
        pub account: String,
        pub number: u32,
        pub way: Way,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.priced", version = 2, key = account)]
    pub struct Priced {
        pub account: String,
        pub number: u32,
        pub currency: String,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.settled", key = account)]
    pub struct Settled {
        pub account: String,
        pub number: u32,
        pub fee: u32,
    }

    /// Fails twice with each message: it has all attempts of its policy, however often the old build
    /// met the message before.
    #[derive(Default)]
    struct Refund(Arc<Mutex<HashMap<(String, u32), u32>>>);

    const FAILURES: u32 = 2;

    impl MessageHandler<Refunded> for Refund {
        async fn handle(&self, event: Refunded, cx: &Context) -> Result<()> {
            let Refunded { account, number } = event;
            let failed = {
                let mut failures = self.0.lock().unwrap();
                let failures = failures.entry((account.clone(), number)).or_default();
                *failures += 1;
                *failures <= FAILURES
            };
            if failed {
                return Err(Error::other("the bank does not answer"));
            }
            enter(cx, account, number, Build::New).await
        }
    }

    async fn on_charged(event: Charged, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::New).await
    }

    async fn on_moved(event: Moved, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::New).await
    }

    async fn on_priced(event: Priced, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::New).await
    }

    async fn on_settled(event: Settled, cx: &Context) -> Result<()> {
        enter(cx, event.account, event.number, Build::New).await
    }

    pub fn build(retry: RetryPolicy) -> BoundedContext {
        let twice = RetryPolicy::new(0, FAILURES, retry.backoff);
        ledger(retry)
            .on(on_charged)
            .on_with(Refund::default(), twice)
            .on(on_moved)
            .on(on_priced)
            .on(on_settled)
    }
}
