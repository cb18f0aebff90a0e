//! The quickstart as services: each context a process, two instances each, over RabbitMQ and
//! PostgreSQL, with the totals of one process.

use std::path::PathBuf;
use std::process::{Child, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mamey::BoundedContext;
use mamey::clock::SystemClock;
use mamey::store::Store;
use mamey_test_support::{postgres, rabbitmq, require, terminate};

use crate::SHIPPED_ORDERS;
use crate::program::{Quickstart, Totals, first_orders, quickstart};

/// Short enough that the partitions of a killed instance are soon free, and long enough for six
/// unoptimized processes on two cores.
const LEASE_MS: &str = "4000";

/// Six processes share a machine: few connections each, and time to open them.
const STORE_PARAMETERS: &str =
    "connections_max=3&connect_timeout_ms=60000&acquire_timeout_ms=60000";

const CONTEXTS: [&str; 3] = ["orders", "payments", "catalog"];

/// How long six processes may make no progress on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The orders to place, their totals in one process, and what the processes share.
struct Trade {
    folder: tempfile::TempDir,
    orders: PathBuf,
    expected: Totals,
    database: postgres::Database,
    vhost: rabbitmq::Vhost,
}

/// The processes of one context. Those that are left are killed when the test ends.
struct Instances(Vec<Child>);

impl Trade {
    fn new(database: postgres::Database, vhost: rabbitmq::Vhost) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let orders = first_orders(folder.path(), SHIPPED_ORDERS as usize);
        let expected = quickstart(folder.path()).orders(&orders).totals();
        Self { folder, orders, expected, database, vhost }
    }

    fn instance(&self, context: &str) -> Quickstart {
        let store = format!("{}?{STORE_PARAMETERS}", self.database.url());
        quickstart(self.folder.path())
            .orders(&self.orders)
            .context(context)
            .environment("MAMEY_STORE", &store)
            .environment("MAMEY_TRANSPORT", self.vhost.url())
            .environment("MAMEY_LEASE_MS", LEASE_MS)
    }

    fn two(&self, context: &str) -> Instances {
        Instances((0..2).map(|_| self.instance(context).start()).collect())
    }

    /// Waits until every message was handled and no outbox holds one.
    async fn until_idle(&self) {
        let clock = Arc::new(SystemClock);
        let database = mamey::persistence::connect(self.database.url(), clock).await.unwrap();
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for context in CONTEXTS {
            let schema = BoundedContext::new(context).schema().unwrap();
            stores.push(database.open(&schema).await.unwrap());
        }
        let (mut most, mut patience) = (0, Instant::now() + PATIENCE);
        loop {
            let (mut handled, mut waiting) = (0, 0);
            for store in &stores {
                handled += store.received_count().await.unwrap();
                waiting += store.outbox_depth().await.unwrap().records;
                waiting += store.parked_count().await.unwrap();
            }
            if handled >= self.expected.handled && waiting == 0 {
                return database.close().await;
            }
            if handled > most {
                (most, patience) = (handled, Instant::now() + PATIENCE);
            }
            let expected = self.expected.handled;
            assert!(Instant::now() < patience, "{handled} of {expected} handled, {waiting} wait");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the services, and checks the sum of their totals.
    fn end(&self, orders: Instances, others: [Instances; 2]) {
        let orders = orders.totals();
        let [payments, catalog] = others.map(|instances| {
            instances.terminate();
            instances.totals()
        });
        assert_eq!(catalog.reserved, orders.paid, "each paid order has one unit");
        let all = [&orders, &payments, &catalog];
        let sum = |of: fn(&Totals) -> u64| all.map(of).iter().sum();
        let totals = Totals {
            reserved: catalog.reserved,
            stock_balanced: all.iter().all(|totals| totals.stock_balanced),
            published: sum(|totals| totals.published),
            handled: sum(|totals| totals.handled),
            dead_letters: sum(|totals| totals.dead_letters),
            ..orders.clone()
        };
        assert_eq!(totals, self.expected);
    }
}

impl Instances {
    fn kill_one(&mut self) {
        let mut victim = self.0.pop().unwrap();
        // On Unix this is SIGKILL: no destructor and no signal handler runs.
        victim.kill().unwrap();
        victim.wait().unwrap();
    }

    fn terminate(&self) {
        self.0.iter().for_each(terminate);
    }

    /// Waits until all have ended; each instance returns the same totals.
    fn totals(mut self) -> Totals {
        let totals: Vec<Totals> = self.0.drain(..).map(|it| Totals::of(&finish(it))).collect();
        assert!(totals.windows(2).all(|two| two[0] == two[1]), "{totals:?}");
        totals.into_iter().next().unwrap()
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn finish(mut process: Child) -> Output {
    let patience = Instant::now() + PATIENCE;
    while process.try_wait().unwrap().is_none() {
        if Instant::now() > patience {
            process.kill().unwrap();
            panic!("it did not end: {:?}", process.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.wait_with_output().unwrap()
}

#[tokio::test]
async fn six_processes_have_the_totals_of_one() {
    let trade = Trade::new(require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let [orders, payments, catalog] = CONTEXTS.map(|context| trade.two(context));
    trade.until_idle().await;
    trade.end(orders, [payments, catalog]);
}

#[tokio::test]
async fn a_killed_instance_of_each_context_changes_no_total() {
    let trade = Trade::new(require!(postgres::database().await), require!(rabbitmq::vhost().await));
    let [mut orders, mut payments, mut catalog] = CONTEXTS.map(|context| trade.two(context));
    for instances in [&mut catalog, &mut payments, &mut orders] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        instances.kill_one();
    }
    trade.until_idle().await;
    trade.end(orders, [payments, catalog]);
}
