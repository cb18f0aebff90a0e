//! Many units of work at once, each tried until it took effect, and the check that each did so once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mamey_core::criteria::{Comparison, Filter, Find, Value};
use mamey_core::message::Envelope;
use mamey_core::store::{CommitOutcome, Expected, LOAD_BYTES_MAX, Store};
use mamey_core::{Error, ErrorKind, Retry};

use super::support::{ACCOUNTS, handles, message};

/// How long a unit may be tried.
const TRIED_MAX: Duration = Duration::from_secs(90);

/// The pause after a transient failure.
const PAUSE: Duration = Duration::from_millis(20);

/// Messages about accounts; each adds one to its account's balance and sends one message.
pub(crate) struct Workload {
    messages: Vec<(i64, Envelope)>,
    failures: Mutex<Vec<Error>>,
}

impl Workload {
    pub(crate) fn new(units: usize, accounts: i64) -> Arc<Self> {
        let account = (0..accounts).cycle();
        let messages = account.take(units).map(|account| (account, message(account))).collect();
        Arc::new(Self { messages, failures: Mutex::default() })
    }

    /// Handles all messages, in this many tasks at a time, as consumers do.
    pub(crate) async fn run(self: &Arc<Self>, store: &Arc<dyn Store>, tasks: usize) {
        let mut running = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let (all, store) = (Arc::clone(self), Arc::clone(store));
            running.spawn(async move {
                for (account, message) in all.messages.iter().skip(task).step_by(tasks) {
                    all.handle(&*store, *account, message).await;
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done.unwrap();
        }
    }

    async fn handle(&self, store: &dyn Store, account: i64, message: &Envelope) {
        let began = Instant::now();
        loop {
            let Err(failure) = attempt(store, account, message).await else { return };
            assert!(began.elapsed() < TRIED_MAX, "{failure:?}");
            match failure.kind() {
                // Another unit of the account was faster, or created it first.
                ErrorKind::Conflict | ErrorKind::AlreadyExists => continue,
                _ => assert_ne!(failure.retry(), Retry::Never, "{failure:?}"),
            }
            self.failures.lock().unwrap().push(failure);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How many failures there were so far, without conflicts.
    pub(crate) fn failure_count(&self) -> usize {
        self.failures.lock().unwrap().len()
    }

    /// Asserts that there were failures, each of one of these kinds.
    pub(crate) fn assert_failures(&self, kinds: &[ErrorKind], text: &str) {
        let failures = self.failures.lock().unwrap();
        assert!(!failures.is_empty(), "the fault was not felt");
        for failure in failures.iter() {
            assert!(kinds.contains(&failure.kind()), "{failure:?}");
            assert!(failure.to_string().contains(text), "{failure:?}");
            assert!(!format!("{failure:?}").contains("mamey-loopback"), "{failure:?}");
        }
    }

    /// Asserts that each message took effect exactly once.
    pub(crate) async fn assert_applied_once(&self, store: &dyn Store) {
        let units = self.messages.len() as u64;
        let everything = Filter::Compare {
            field: "id",
            comparison: Comparison::GreaterOrEqual,
            value: Value::Int(0),
        };
        let find = Find::new(&ACCOUNTS, everything, 10_000);
        let accounts = store.find(&find).await.unwrap().documents;
        let balances: u64 = accounts.iter().map(|account| balance(&account.data)).sum();
        assert_eq!(balances, units);
        assert_eq!(store.received_count().await.unwrap(), units);
        assert_eq!(store.outbox_depth().await.unwrap().records, units);
    }
}

async fn attempt(store: &dyn Store, account: i64, message: &Envelope) -> Result<(), Error> {
    let loaded = store.load(&ACCOUNTS, &[Value::Int(account)], LOAD_BYTES_MAX).await?;
    let (before, expected) = match loaded.first().and_then(Option::as_ref) {
        Some(document) => (balance(&document.data), Expected::Version(document.version)),
        None => (0, Expected::Absent),
    };
    match store.commit(handles(message, account, before + 1, expected)).await? {
        CommitOutcome::Committed(_) | CommitOutcome::Duplicate => Ok(()),
        CommitOutcome::LaneParked => panic!("nothing is parked here"),
    }
}

fn balance(data: &[u8]) -> u64 {
    let digits: String = data.iter().map(|b| char::from(*b)).filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}
