//! One unit of work on SQLite (load, save, publish) compared with the same written by hand with sqlx.
//!
//! Each side has a file on the same disk, in WAL mode with a sync for each commit, and they take turns.
//! No relay runs: only the unit of work is measured.

mod support;

#[path = "support/bank.rs"]
mod bank;
#[path = "support/handwritten.rs"]
mod handwritten;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mamey::persistence::{SqliteDatabase, SqliteOptions};
use mamey::store::Database;
use mamey::{BoundedContext, Command, Context, Result, Uuid};
use mamey_cqrs::{ContextRuntime, Resources};

use bank::{AMOUNT_CENTS, Account, Deposited, OWNER, Open, Way, add, go_for, open_account};
use handwritten::Handwritten;
use support::{Measured, Report, folder};

/// How many tasks deposit at once, and how many times faster than by hand that must be.
const LOADS: [(usize, Option<f64>); 3] = [(1, Some(1.0)), (16, Some(4.0)), (64, None)];

/// How often each side has its turn under each load.
const ROUNDS: usize = 9;

/// How long a turn takes.
const TURN: Duration = Duration::from_millis(700);

#[derive(Clone, Command)]
#[command(reply = i64)]
struct Deposit {
    account: Uuid,
    amount_cents: i64,
}

async fn deposit(command: Deposit, cx: &Context) -> Result<i64> {
    add(command.account, command.amount_cents, cx).await
}

impl Way for Arc<ContextRuntime> {
    async fn go(&self, account: Uuid) -> Result<(), String> {
        let deposited = self.send(Deposit { account, amount_cents: AMOUNT_CENTS }).await;
        deposited.map(drop).map_err(|error| error.to_string())
    }
}

impl Way for Arc<Handwritten> {
    async fn go(&self, account: Uuid) -> Result<(), String> {
        let deposited = self.deposit(account, AMOUNT_CENTS).await;
        deposited.map(drop).map_err(|error| error.to_string())
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
        let accounts = bank::accounts();
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

    /// Lets both sides work in turns; each starts every other round.
    async fn meet(
        &mut self,
        report: &mut Report,
        tasks: usize,
        target: Option<f64>,
    ) -> Result<(), Box<dyn Error>> {
        // The first turn of each side does not count: the logs grow during it.
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
        let who = format!("{tasks} task{}", if tasks == 1 { "" } else { "s" });
        let name = format!("load, save, publish: {who}");
        let sides = [&*ours, &*theirs];
        report.add(Measured::peer(name, "units/s", sides, |ours, theirs| ours / theirs, target));
        let name = format!("transactions for one unit: {who}");
        let after = self.database.stats();
        let transactions = (after.transactions - before.transactions) as f64;
        let shared = transactions / (after.units - before.units) as f64;
        report.add(Measured::limit(name, shared, "", None));
        Ok(())
    }

    async fn our_turn(&mut self, tasks: usize) -> Result<f64, Box<dyn Error>> {
        let (taken, per_second) = go_for(&self.ours, TURN, tasks, &self.accounts).await?;
        self.taken[0] += taken;
        Ok(per_second)
    }

    async fn their_turn(&mut self, tasks: usize) -> Result<f64, Box<dyn Error>> {
        let (taken, per_second) = go_for(&self.theirs, TURN, tasks, &self.accounts).await?;
        self.taken[1] += taken;
        Ok(per_second)
    }

    /// Checks that both did what was counted, and returns the durability of the files.
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
