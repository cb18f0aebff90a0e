//! Accounts: commands move money between them, and each move is published in its account's order.

use std::time::Duration;

use mamey::{
    Aggregate, BoundedContext, Command, Context, Criteria, Event, Query, ReadContext, Result,
};
use serde::{Deserialize, Serialize};

/// Opens an account with some money.
#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "accounts.open")]
pub(crate) struct Open {
    pub(crate) account: String,
    pub(crate) balance: i64,
}

/// Moves money from one account to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Command)]
#[command(name = "accounts.transfer", reply = Transferred)]
pub(crate) struct Transfer {
    /// The caller's idempotency key.
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: i64,
    /// How often the ledger fails to book the first of the two moves.
    pub(crate) failures: u32,
    /// Whether the audit inspects it; the first run of that fails.
    pub(crate) flagged: bool,
    /// How long each handler takes.
    pub(crate) think_ms: u64,
}

/// The numbers of the two moves of a transfer, in the order of their accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transferred {
    pub(crate) from_sequence: u64,
    pub(crate) to_sequence: u64,
}

/// The balance of one account has changed.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "accounts.moved", key = account)]
pub(crate) struct Moved {
    pub(crate) account: String,
    /// Counted from 1 for each account, in the order of the commits.
    pub(crate) sequence: u64,
    pub(crate) amount: i64,
    pub(crate) failures: u32,
    pub(crate) think_ms: u64,
}

/// A transfer needs an inspection. The event has no key, so nothing waits behind it.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "accounts.flagged")]
pub(crate) struct Flagged {
    pub(crate) transfer: String,
}

/// All accounts.
#[derive(Query, Serialize, Deserialize)]
#[query(name = "accounts.show", reply = Vec<Account>)]
pub(crate) struct ShowAccounts;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Aggregate)]
#[aggregate(collection = "accounts")]
pub(crate) struct Account {
    #[aggregate(id)]
    pub(crate) name: String,
    pub(crate) balance: i64,
    /// The number of its last move.
    pub(crate) sequence: u64,
}

impl Account {
    fn moved(&mut self, amount: i64, failures: u32, think_ms: u64) -> Moved {
        self.sequence += 1;
        self.balance += amount;
        let (account, sequence) = (self.name.clone(), self.sequence);
        Moved { account, sequence, amount, failures, think_ms }
    }
}

async fn open(command: Open, cx: &Context) -> Result<()> {
    let Open { account, balance } = command;
    cx.repository().add(&Account { name: account, balance, sequence: 0 })
}

async fn transfer(command: Transfer, cx: &Context) -> Result<Transferred> {
    let accounts = cx.repository::<Account>();
    let mut from = accounts.load(&command.from).await?;
    let mut to = accounts.load(&command.to).await?;
    tokio::time::sleep(Duration::from_millis(command.think_ms)).await;
    cx.publish(&from.moved(-command.amount, command.failures, command.think_ms))?;
    cx.publish(&to.moved(command.amount, 0, command.think_ms))?;
    if command.flagged {
        cx.publish(&Flagged { transfer: command.key })?;
    }
    accounts.save(&from)?;
    accounts.save(&to)?;
    Ok(Transferred { from_sequence: from.sequence, to_sequence: to.sequence })
}

async fn show(_: ShowAccounts, cx: &ReadContext) -> Result<Vec<Account>> {
    let page = cx.repository::<Account>().find(Criteria::all().limit(1000)).await?;
    Ok(page.items.into_iter().map(mamey::Versioned::into_inner).collect())
}

pub(super) fn context() -> BoundedContext {
    BoundedContext::new("accounts")
        .aggregate::<Account>()
        .command(open)
        .command(transfer)
        .query(show)
        .publishes::<Moved>()
        .publishes::<Flagged>()
        .conflict_retries(20)
}
