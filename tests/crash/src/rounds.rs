//! The rounds: work, break, wait until idle, judge.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::domain::accounts::Transfer;
use crate::error::{Error, Result};
use crate::fault::Kind;
use crate::fleet::{Fleet, Orders};
use crate::idle::until_idle;
use crate::inject::{Injected, inject};
use crate::journal::Journal;
use crate::load;
use crate::options::{Options, StoreKind};
use crate::place::Place;
use crate::plan::{ACCOUNTS, OPENING_BALANCE, Plan, Planner, account};
use crate::protocol::{Answer, Order};
use crate::report::{Report, Row};
use crate::verdict::{Expected, Verdict};
use crate::worker::Inspection;

/// How many attempts there are to open an account.
const OPENINGS_MAX: u32 = 100;

/// A run of the suite.
pub(crate) struct Run<'o> {
    pub(crate) options: &'o Options,
    pub(crate) place: Arc<Place>,
    pub(crate) journal: Journal,
    pub(crate) ahead_ms: Arc<AtomicI64>,
    pub(crate) expected: Expected,
}

impl<'o> Run<'o> {
    pub(crate) fn new(options: &'o Options, place: Place) -> Self {
        Self {
            options,
            place: Arc::new(place),
            journal: Journal::new(),
            ahead_ms: Arc::default(),
            expected: Expected::default(),
        }
    }

    /// Plays all rounds, or until one breaks a law, and reports each as it ends.
    pub(crate) async fn play(
        &mut self,
        seed: u64,
        mut report_row: impl FnMut(&Row),
    ) -> Result<Report> {
        let planner = self.planner(seed)?;
        let mut report = Report::new(seed);
        for round in 0..self.options.rounds {
            let plan = planner.plan(round);
            let row = self.round(&plan).await?;
            report_row(&row);
            let clean = row.verdict.is_clean();
            report.add(row);
            report.messages = self.expected.messages();
            if !clean {
                break;
            }
        }
        Ok(report)
    }

    fn planner(&self, seed: u64) -> Result<Planner> {
        let Options { store, transport, restart_servers, faults, transfers, .. } = self.options;
        let mut kinds = Kind::all(*store, *transport, *restart_servers);
        if let Some(unknown) = unknown(faults, &kinds) {
            let known: Vec<_> = kinds.iter().map(ToString::to_string).collect();
            let known = known.join(", ");
            return Err(Error::Usage(format!("no fault `{unknown}` here; there are {known}")));
        }
        if !faults.is_empty() {
            kinds.retain(|kind| faults.contains(&kind.to_string()));
        }
        let shares = *store == StoreKind::Postgres;
        Ok(Planner { seed, kinds, transfers: *transfers, lease: store.lease(), shares })
    }

    async fn round(&mut self, plan: &Plan) -> Result<Row> {
        let fleet = Arc::new(self.fleet(plan).await?);
        if plan.round == 0 {
            self.open_accounts(&fleet).await?;
        }
        let (count, answered) = watch::channel(0);
        let transfers = plan.transfers.clone();
        let loading = load::run(&fleet, &self.journal, transfers, count, self.options.patience());
        let injecting = inject(&fleet, &self.place, &self.journal, plan.fault, answered);
        let (answers, injected) = tokio::join!(loading, injecting);
        let mut injected = injected?;
        let sent = |it: &&Transfer| answers.contains_key(&it.key);
        plan.transfers.iter().filter(sent).for_each(|transfer| self.expected.add(transfer));
        let patience = self.options.patience();
        let idle = until_idle(&fleet, &self.journal, &self.expected, patience).await?;
        if let (Kind::Failpoint(_), Some(restarted)) = (plan.fault.kind, fleet.last_restart()) {
            injected = Injected { hit: fleet.crashed() > 0, over: restarted };
        }
        let over =
            fleet.last_restart().map_or(injected.over, |restarted| restarted.max(injected.over));
        let mut verdict = self.expected.judge(&idle.contents, &idle.depths);
        verdict.stuck += (plan.transfers.len() - answers.len()) as u64;
        if idle.since.is_none() && verdict.is_clean() {
            // Every effect is there, and yet a message waits: it would be handled twice, or never.
            verdict.stuck +=
                idle.depths.iter().map(|it| it.outbox + it.parked + it.dead).sum::<u64>();
        }
        verdict.unexpected_dead_letters = idle.unexpected_dead_letters;
        self.end(fleet).await?;
        verdict.leaked_leases = self.inspect().await?.leaked_leases;
        let recovery = idle.since.map(|since| since.saturating_duration_since(over));
        Ok(Row::new(plan, injected.hit, recovery.unwrap_or_default(), verdict))
    }

    async fn fleet(&self, plan: &Plan) -> Result<Fleet> {
        let crash_at = match plan.fault.kind {
            Kind::Failpoint(point) => Some((plan.fault.target, point, plan.fault.pass)),
            _ => None,
        };
        self.journal.note_fault(format!("-- round {}: {}", plan.round, plan.fault.kind));
        let broken_law = self.options.broken_law.as_deref();
        let orders = Orders { instances: plan.instances, crash_at, broken_law };
        Fleet::start(&self.place, &self.journal, &self.ahead_ms, orders).await
    }

    /// Opens the accounts; fails in a store that already has some.
    pub(crate) async fn open_accounts(&self, fleet: &Fleet) -> Result<()> {
        for number in 0..ACCOUNTS {
            let name = account(number);
            let order = Order::Open { account: name.clone(), balance: OPENING_BALANCE };
            let mut tries = 0;
            while !matches!(fleet.command(&name, order.clone(), 0).await, Some(Answer::Done { .. }))
            {
                tries += 1;
                if tries >= OPENINGS_MAX {
                    return Err(Error::Worker(format!(
                        "account {name} could not be opened: is the store empty?"
                    )));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    pub(crate) async fn end(&self, fleet: Arc<Fleet>) -> Result<()> {
        let Some(fleet) = Arc::into_inner(fleet) else {
            return Err(Error::Worker("a task still uses the fleet".to_owned()));
        };
        fleet.stop().await
    }

    async fn inspect(&self) -> Result<Inspection> {
        let program = std::env::current_exe().map_err(Error::system("finding this program"))?;
        let output = Command::new(program)
            .arg("inspect")
            .env("MAMEY_STORE", self.place.store_url())
            .env("MAMEY_LEASE_MS", self.place.lease().as_millis().to_string())
            .output()
            .await
            .map_err(Error::system("starting the inspection"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Error::Worker(format!("the leases could not be inspected: {why}"))
        })
    }

    /// The histories of the keys of a verdict.
    pub(crate) fn histories(&self, verdict: &Verdict) -> String {
        let history = |key: &String| format!("history of {key}:\n{}", self.journal.history(key));
        verdict.keys.iter().take(2).map(history).collect()
    }
}

/// The first name that is not a kind of fault.
fn unknown<'f>(faults: &'f [String], kinds: &[Kind]) -> Option<&'f String> {
    let names: Vec<_> = kinds.iter().map(ToString::to_string).collect();
    faults.iter().find(|fault| !names.contains(fault))
}
