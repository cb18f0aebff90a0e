//! One process of the service under test, which takes orders over its pipes.

use std::io::Write;
use std::sync::Arc;

use fastrand::Rng;
use mamey::{Result, RunningService, Service};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::builds::{Build, Burst, ShowAccounts, ShowBooks, ShowSent};
use crate::protocol::{Answer, Order, Report};

/// How many dead letters of a context are told.
const DEAD_LETTERS_TOLD: u32 = 5;

struct Worker {
    build: Build,
    service: RunningService,
}

/// Runs a build until it gets the order to stop or the rehearsal is gone.
pub(crate) async fn work(build: Build, store: &str, transport: &str) -> Result<()> {
    let service = Service::new(build.settings(store, transport));
    let service = build.contexts().into_iter().fold(service, Service::host).start().await?;
    let worker = Arc::new(Worker { build, service });
    write(&Answer::Ready);
    tokio::select! {
        () = take_orders(&worker, BufReader::new(tokio::io::stdin()).lines()) => {}
        () = worker.service.wait_for_shutdown() => {}
    }
    worker.service.shutdown().await
}

async fn take_orders(worker: &Arc<Worker>, mut orders: Lines<BufReader<Stdin>>) {
    while let Ok(Some(line)) = orders.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Order::Stop) => return,
            Ok(order) => {
                let worker = Arc::clone(worker);
                tokio::spawn(async move { write(&worker.carry_out(order).await) });
            }
            Err(error) => tracing::error!(%error, line, "an order could not be read"),
        }
    }
}

impl Worker {
    async fn carry_out(&self, order: Order) -> Answer {
        match order {
            Order::Burst { id, account, count, seed } => {
                let mut rng = Rng::with_seed(seed);
                let kinds = (0..count).filter_map(|_| rng.choice(self.build.sends()).copied());
                let burst = Burst { account, kinds: kinds.collect() };
                match self.service.send(burst).await {
                    Ok(()) => Answer::Done { id },
                    Err(error) => Answer::Failed { id, error: error.to_string() },
                }
            }
            Order::Report { id } => match self.report().await {
                Ok(report) => Answer::Reported { id, report },
                Err(error) => Answer::Failed { id, error: error.to_string() },
            },
            Order::Stop => Answer::Ready,
        }
    }

    async fn report(&self) -> Result<Report> {
        let totals = self.service.totals().await?;
        let rejected = totals.rejected;
        let mut report = Report {
            sent: self.service.query(ShowSent).await?,
            ledger: self.service.query(ShowAccounts).await?,
            waiting: totals.waiting,
            parked: totals.parked,
            dead_letters: totals.dead_letters,
            rejected: rejected.undecodable
                + rejected.unsupported
                + rejected.over_limit
                + rejected.unstorable,
            ignored: totals.ignored.total(),
            ..Report::default()
        };
        if self.build.has_audit() {
            report.audit = self.service.query(ShowBooks).await?;
        }
        for context in self.build.contexts() {
            let store = self.service.store(context.name())?;
            for letter in store.dead_letters(None, DEAD_LETTERS_TOLD).await? {
                let (name, failure) = (letter.envelope.metadata.name, letter.failure);
                report.reasons.push(format!("{}: {name}: {}", context.name(), failure.message));
            }
        }
        Ok(report)
    }
}

/// Writes one line. An error is ignored: the rehearsal is gone, and the process ends soon.
fn write(answer: &Answer) {
    let Ok(mut line) = serde_json::to_vec(answer) else { return };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    let _ignored = stdout.write_all(&line).and_then(|()| stdout.flush());
}
