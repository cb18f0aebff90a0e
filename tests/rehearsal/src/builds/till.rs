//! The till: sends messages about accounts, and remembers in the same commit which it has sent.

use std::collections::BTreeMap;

use mamey::{Aggregate, BoundedContext, Command, Context, Criteria, Query, ReadContext, Result};
use serde::{Deserialize, Serialize};

use super::messages::{Charged, Moved, Noted, Priced, Refunded, Way, former};
use super::{Build, Kind};

const ACCOUNTS_MAX: u32 = 1000;

/// Sends some messages about one account, in one commit.
#[derive(Clone, Command)]
pub(crate) struct Burst {
    pub(crate) account: String,
    pub(crate) kinds: Vec<Kind>,
}

/// Which messages were sent about each account, a letter for each.
#[derive(Query)]
#[query(reply = BTreeMap<String, String>)]
pub(crate) struct ShowSent;

#[derive(Serialize, Deserialize, Aggregate)]
#[aggregate(collection = "sent")]
struct Sent {
    #[aggregate(id)]
    account: String,
    letters: String,
}

async fn burst(command: Burst, cx: &Context) -> Result<()> {
    let Burst { account, kinds } = command;
    let all = cx.repository::<Sent>();
    if let Some(mut sent) = all.get(&account).await? {
        sent.send(&kinds, cx)?;
        return all.save(&sent);
    }
    let mut sent = Sent { account, letters: String::new() };
    sent.send(&kinds, cx)?;
    all.add(&sent)
}

impl Sent {
    fn send(&mut self, kinds: &[Kind], cx: &Context) -> Result<()> {
        for kind in kinds {
            publish(cx, *kind, self.account.clone(), self.letters.len() as u64)?;
            self.letters.push(kind.letter());
        }
        Ok(())
    }
}

fn publish(cx: &Context, kind: Kind, account: String, number: u64) -> Result<()> {
    match kind {
        Kind::Charged => cx.publish(&Charged { account, number }),
        Kind::Noted => cx.publish(&Noted { account, number }),
        Kind::PricedFormerly => cx.publish(&former::Priced { account, number }),
        Kind::Priced => cx.publish(&Priced { account, number, currency: "CHF".to_owned() }),
        Kind::MovedSlowly => cx.publish(&Moved { account, number, way: Way::Slow }),
        Kind::MovedSwiftly => cx.publish(&Moved { account, number, way: Way::Swift }),
        Kind::Refunded => cx.publish(&Refunded { account, number }),
    }
}

async fn show(_: ShowSent, cx: &ReadContext) -> Result<BTreeMap<String, String>> {
    let page = cx.repository::<Sent>().find(Criteria::all().limit(ACCOUNTS_MAX)).await?;
    let items = page.items.into_iter().map(mamey::Versioned::into_inner);
    Ok(items.map(|sent| (sent.account, sent.letters)).collect())
}

pub(super) fn context(build: Build) -> BoundedContext {
    let till = BoundedContext::new("till")
        .aggregate::<Sent>()
        .command(burst)
        .query(show)
        .publishes::<Charged>()
        .publishes::<Moved>();
    match build {
        Build::Old => till.publishes::<Noted>().publishes::<former::Priced>(),
        Build::Expanded => till.publishes::<Noted>().publishes::<Priced>().publishes::<Refunded>(),
        Build::Contracted => till.publishes::<Priced>().publishes::<Refunded>(),
    }
}
