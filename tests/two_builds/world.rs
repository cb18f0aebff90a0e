//! A till, and instances of either build of the ledger, on one PostgreSQL and one RabbitMQ.

use std::time::Duration;

use mamey::message::Partition;
use mamey::store::{DeadLetter, ParkedMessage};
use mamey::{BoundedContext, RunningService, Service, Settings};
use mamey_test_support::{postgres, rabbitmq};

use crate::builds::{Entries, Entry};
use crate::till::{Needs, Round, till};

const PATIENCE: Duration = Duration::from_secs(90);
const PARTITIONS: u16 = 8;

/// Enough for each instance to have accounts of each kind in its partitions.
const ACCOUNTS: u32 = 16;

pub struct World {
    database: postgres::Database,
    vhost: rabbitmq::Vhost,
    till: RunningService,
    rounds: u32,
}

impl World {
    pub async fn new(database: postgres::Database, vhost: rabbitmq::Vhost) -> Self {
        let till = start(&database, &vhost, till()).await;
        Self { database, vhost, till, rounds: 0 }
    }

    /// Starts an instance of a build of the ledger.
    pub async fn start(&self, build: BoundedContext) -> RunningService {
        start(&self.database, &self.vhost, build).await
    }

    /// Sends one more round on each account that needs one of these builds.
    pub async fn send(&mut self, all: &[Needs]) {
        for needs in all {
            for account in accounts(*needs) {
                let command = Round { account, needs: *needs, round: self.rounds };
                self.till.send(command).await.unwrap();
            }
        }
        self.rounds += 1;
    }

    /// How many messages each of these accounts was sent.
    pub fn sent(&self, needs: Needs) -> u32 {
        self.rounds * needs.each()
    }

    /// Waits until everything on these accounts took effect, and checks that each message did so once
    /// and in order.
    pub async fn complete(&self, ledger: &RunningService, needs: Needs) -> Vec<Vec<Entry>> {
        let sent = self.sent(needs);
        let all_there = async || {
            let all = entries(ledger, needs).await;
            all.iter().all(|entries| entries.len() >= sent as usize)
        };
        until(&format!("everything of {needs:?} is handled"), all_there).await;
        let all = entries(ledger, needs).await;
        for entries in &all {
            let numbers: Vec<u32> = entries.iter().map(|entry| entry.number).collect();
            assert_eq!(numbers, (0..sent).collect::<Vec<u32>>());
        }
        all
    }

    pub async fn end(self) {
        self.till.shutdown().await.unwrap();
    }
}

fn accounts(needs: Needs) -> impl Iterator<Item = String> {
    (0..ACCOUNTS).map(move |account| format!("{needs:?} {account}"))
}

/// What took effect on each of these accounts.
pub async fn entries(ledger: &RunningService, needs: Needs) -> Vec<Vec<Entry>> {
    let mut all = Vec::new();
    for account in accounts(needs) {
        all.push(ledger.query(Entries(account)).await.unwrap());
    }
    all
}

pub async fn dead_letters(ledger: &RunningService) -> Vec<DeadLetter> {
    ledger.store("ledger").unwrap().dead_letters(None, 1000).await.unwrap()
}

/// The first parked message of each lane that is due.
pub async fn due_heads(ledger: &RunningService) -> Vec<ParkedMessage> {
    let partitions = Partition::all(PARTITIONS).unwrap();
    let store = ledger.store("ledger").unwrap();
    store.due_parked(&partitions, 1000).await.unwrap()
}

pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    mamey_test_support::until(what, PATIENCE, holds).await;
}

async fn start(
    database: &postgres::Database,
    vhost: &rabbitmq::Vhost,
    context: BoundedContext,
) -> RunningService {
    let settings = Settings::default()
        .with_partitions(PARTITIONS)
        .with_lease(Duration::from_secs(2))
        .with_poll(Duration::from_millis(50));
    let service = Service::new(settings).store_url(database.url()).transport_url(vhost.url());
    service.host(context).start().await.unwrap()
}
