//! One unit of work on SQLite (load, save, publish) beside the same written by hand with sqlx.
//!
//! Both sides keep a file of their own on the same disk, in WAL with a sync for each commit, and
//! take turns. No relay runs: only the unit counts.

mod support;

#[path = "support/handwritten.rs"]
mod handwritten;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mamey::persistence::{SqliteDatabase, SqliteOptions};
use mamey::store::Database;
use mamey::{Aggregate, BoundedContext, Command, Context, Event, Result, Uuid};
use mamey_cqrs::{ContextRuntime, Resources};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use handwritten::Handwritten;
use support::{Kind, Measured, Report, folder, median};

/// How many tasks deposit at once, and how many times faster than by hand that has to be.
const LOADS: [(usize, Option<f64>); 3] = [(1, Some(1.0)), (16, Some(4.0)), (64, None)];

/// How often each side has its turn under each load.
const ROUNDS: usize = 9;

/// How long a turn takes.
const TURN: Duration = Duration::from_millis(700);

/// How many accounts each task has for itself, so that no unit conflicts with another.
const ACCOUNTS_PER_TASK: usize = 16;

const ACCOUNTS: usize = ACCOUNTS_PER_TASK * 64;

const OWNER: &str = "Ada Lovelace, 12 St James's Square";

const AMOUNT_CENTS: i64 = 250;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "accounts")]
struct Account {
    #[aggregate(id)]
    id: Uuid,
    owner: String,
    balance_cents: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "bank.deposited", key = account)]
struct Deposited {
    account: Uuid,
    amount_cents: i64,
}

#[derive(Clone, Command)]
#[command(reply = ())]
struct Open(Uuid);

#[derive(Clone, Command)]
#[command(reply = i64)]
struct Deposit {
    account: Uuid,
    amount_cents: i64,
}

async fn open_account(command: Open, cx: &Context) -> Result<()> {
    cx.repository().add(&Account { id: command.0, owner: OWNER.to_owned(), balance_cents: 0 })
}

async fn deposit(command: Deposit, cx: &Context) -> Result<i64> {
    let Deposit { account: id, amount_cents } = command;
    let accounts = cx.repository::<Account>();
    let mut account = accounts.load(&id).await?;
    account.balance_cents += amount_cents;
    accounts.save(&account)?;
    cx.publish(&Deposited { account: id, amount_cents })?;
    Ok(account.balance_cents)
}

/// Someone who takes deposits.
trait Bank: Send + Sync + 'static {
    /// Loads one account, saves it, and publishes one event.
    fn deposit(&self, account: Uuid) -> impl Future<Output = Result<i64, String>> + Send;
}

impl Bank for ContextRuntime {
    async fn deposit(&self, account: Uuid) -> Result<i64, String> {
        let amount_cents = AMOUNT_CENTS;
        let deposit = Deposit { account, amount_cents };
        self.send(deposit).await.map_err(|error| error.to_string())
    }
}

impl Bank for Handwritten {
    async fn deposit(&self, account: Uuid) -> Result<i64, String> {
        let deposited = Handwritten::deposit(self, account, AMOUNT_CENTS).await;
        deposited.map_err(|error| error.to_string())
    }
}

/// Both sides, the accounts they share by id, and how many deposits each has taken.
struct Rivals {
    database: SqliteDatabase,
    ours: Arc<ContextRuntime>,
    theirs: Arc<Handwritten>,
    accounts: Arc<Vec<Uuid>>,
    taken: [u64; 2],
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("sqlite-").tempdir_in(folder()?)?;
    let mut rivals = Rivals::open(folder.path()).await?;
    let mut report = Report::new("sqlite");
    for (tasks, target) in LOADS {
        rivals.meet(&mut report, tasks, target).await?;
    }
    report.note(rivals.close().await?);
    Ok(report.publish()?)
}

impl Rivals {
    async fn open(folder: &std::path::Path) -> Result<Self, Box<dyn Error>> {
        let accounts: Arc<Vec<Uuid>> = Arc::new((0..ACCOUNTS).map(|_| Uuid::now_v7()).collect());
        let ours = folder.join("ours.db");
        let database =
            SqliteDatabase::open(&ours.to_string_lossy(), SqliteOptions::default()).await?;
        let bank = BoundedContext::new("bank")
            .aggregate::<Account>()
            .command(open_account)
            .command(deposit)
            .publishes::<Deposited>();
        let store = Database::open(&database, &bank.schema()?).await?;
        let ours = bank.open(Resources::new(store))?;
        for account in accounts.iter() {
            ours.send(Open(*account)).await?;
        }
        Ok(Self {
            database,
            ours,
            theirs: Arc::new(Handwritten::open(&folder.join("theirs.db"), &accounts).await?),
            accounts,
            taken: [0, 0],
        })
    }

    /// Lets both sides work in turns, each beginning every other round.
    async fn meet(
        &mut self,
        report: &mut Report,
        tasks: usize,
        target: Option<f64>,
    ) -> Result<(), Box<dyn Error>> {
        // A first turn each that does not count: it is the one that lets the logs grow.
        self.our_turn(tasks).await?;
        self.their_turn(tasks).await?;
        let before = self.database.stats();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            for turn in 0..2 {
                if (round + turn) % 2 == 0 {
                    ours.push(self.our_turn(tasks).await?);
                } else {
                    theirs.push(self.their_turn(tasks).await?);
                }
            }
        }
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(o, t)| o / t).collect();
        let who = format!("{tasks} task{}", if tasks == 1 { "" } else { "s" });
        report.add(Measured {
            name: format!("load, save, publish: {who}"),
            kind: Kind::Peer,
            ours: median(&ours),
            theirs: Some(median(&theirs)),
            unit: "units/s",
            ratio: Some(median(&ratios)),
            target,
        });
        let name = format!("transactions for one unit: {who}");
        let after = self.database.stats();
        let transactions = (after.transactions - before.transactions) as f64;
        let shared = transactions / (after.units - before.units) as f64;
        report.add(Measured::limit(name, shared, "", None));
        Ok(())
    }

    async fn our_turn(&mut self, tasks: usize) -> Result<f64, Box<dyn Error>> {
        let (taken, per_second) = turn(&self.ours, tasks, &self.accounts).await?;
        self.taken[0] += taken;
        Ok(per_second)
    }

    async fn their_turn(&mut self, tasks: usize) -> Result<f64, Box<dyn Error>> {
        let (taken, per_second) = turn(&self.theirs, tasks, &self.accounts).await?;
        self.taken[1] += taken;
        Ok(per_second)
    }

    /// Makes sure that both did all they were counted for, and says how the files were kept.
    async fn close(self) -> Result<String, Box<dyn Error>> {
        let published = self.ours.store().outbox_depth().await?.records;
        drop(self.ours);
        self.database.close().await;
        let theirs = Arc::into_inner(self.theirs).ok_or("a task still works by hand")?;
        let (published_by_hand, kept) = theirs.close().await?;
        if [published, published_by_hand] != self.taken {
            let taken = self.taken;
            return Err(format!(
                "{taken:?} deposits, but [{published}, {published_by_hand}] events"
            )
            .into());
        }
        Ok(format!("both keep a write-ahead log and sync it with each commit; by hand: {kept}"))
    }
}

/// How many deposits some tasks made in a turn, and how many that is in a second.
async fn turn<B: Bank>(
    bank: &Arc<B>,
    tasks: usize,
    accounts: &Arc<Vec<Uuid>>,
) -> Result<(u64, f64), Box<dyn Error>> {
    let begin = Instant::now();
    let mut working = JoinSet::new();
    for task in 0..tasks {
        let (bank, accounts) = (Arc::clone(bank), Arc::clone(accounts));
        working.spawn(async move {
            let own = accounts.iter().skip(task * ACCOUNTS_PER_TASK);
            let own = own.take(ACCOUNTS_PER_TASK).cycle();
            let mut taken = 0_u64;
            for account in own {
                bank.deposit(*account).await?;
                taken += 1;
                if begin.elapsed() >= TURN {
                    break;
                }
            }
            Ok::<_, String>(taken)
        });
    }
    let mut taken = 0;
    while let Some(done) = working.join_next().await {
        taken += done??;
    }
    Ok((taken, taken as f64 / begin.elapsed().as_secs_f64()))
}
