//! The bank that stores are measured with, and the loop in which tasks work in it at once.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mamey::{Aggregate, Command, Context, Event, Result, Uuid};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// The most tasks that work at once.
pub(crate) const TASKS_MAX: usize = 64;

/// How many accounts each task has to itself, so that units do not conflict.
const ACCOUNTS_PER_TASK: usize = 16;

pub(crate) const OWNER: &str = "Ada Lovelace, 12 St James's Square";

pub(crate) const AMOUNT_CENTS: i64 = 250;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "accounts")]
pub(crate) struct Account {
    #[aggregate(id)]
    pub(crate) id: Uuid,
    owner: String,
    balance_cents: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "bank.deposited", key = account)]
pub(crate) struct Deposited {
    account: Uuid,
    amount_cents: i64,
}

#[derive(Clone, Command)]
#[command(reply = ())]
pub(crate) struct Open(pub(crate) Uuid);

pub(crate) async fn open_account(command: Open, cx: &Context) -> Result<()> {
    cx.repository().add(&Account { id: command.0, owner: OWNER.to_owned(), balance_cents: 0 })
}

/// Loads one account, saves it, publishes one event, and returns the balance.
pub(crate) async fn add(account: Uuid, amount_cents: i64, cx: &Context) -> Result<i64> {
    let accounts = cx.repository::<Account>();
    let mut changed = accounts.load(&account).await?;
    changed.balance_cents += amount_cents;
    accounts.save(&changed)?;
    cx.publish(&Deposited { account, amount_cents })?;
    Ok(changed.balance_cents)
}

/// Enough for all tasks.
pub(crate) fn accounts() -> Arc<Vec<Uuid>> {
    Arc::new((0..ACCOUNTS_PER_TASK * TASKS_MAX).map(|_| Uuid::now_v7()).collect())
}

/// One way to run an operation on an account.
pub(crate) trait Way: Clone + Send + Sync + 'static {
    fn go(&self, account: Uuid) -> impl Future<Output = Result<(), String>> + Send;
}

/// How many operations some tasks ran in a turn, and how many per second.
pub(crate) async fn go_for(
    way: &impl Way,
    length: Duration,
    tasks: usize,
    accounts: &Arc<Vec<Uuid>>,
) -> Result<(u64, f64), Box<dyn Error>> {
    let begin = Instant::now();
    let mut working = JoinSet::new();
    for task in 0..tasks {
        let (way, accounts) = (way.clone(), Arc::clone(accounts));
        working.spawn(async move {
            let own = accounts.iter().skip(task * ACCOUNTS_PER_TASK);
            let mut done = 0_u64;
            for account in own.take(ACCOUNTS_PER_TASK).cycle() {
                way.go(*account).await?;
                done += 1;
                if begin.elapsed() >= length {
                    break;
                }
            }
            Ok::<_, String>(done)
        });
    }
    let mut done = 0;
    while let Some(of_task) = working.join_next().await {
        done += of_task??;
    }
    Ok((done, done as f64 / begin.elapsed().as_secs_f64()))
}
