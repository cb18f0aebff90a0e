//! A service whose store is broken and fixed while it runs, and what must hold after that.

use std::time::Duration;

use mamey::{Result, RunningService, Service, Settings};
use mamey_test_support::until;

use crate::domain::{Emit, Failures, Received, contexts};

const PATIENCE: Duration = Duration::from_secs(60);

/// How many streams, each a key of its own, and how many messages of each are sent at a time.
const STREAMS: i64 = 3;
const EACH: i64 = 4;

/// So many failures show that each stream's head was tried more than once.
const FAILURES: u64 = 12;

pub struct World {
    store: String,
    transport: String,
    pub service: RunningService,
    sent: i64,
    failures: Failures,
}

impl World {
    pub async fn start(store: &str, transport: &str) -> Self {
        let (store, transport) = (store.to_owned(), transport.to_owned());
        let failures = Failures::default();
        let service = start(&store, &transport, &failures).await;
        Self { store, transport, service, sent: 0, failures }
    }

    /// Sends the next messages of each stream. On SQLite a sender may share the transaction of a
    /// receiver, and fail with it.
    pub async fn emit(&mut self) {
        for number in self.sent..self.sent + EACH {
            for stream in 0..STREAMS {
                let sent = async || self.try_emit(stream, number).await.is_ok();
                until("it is sent", PATIENCE, sent).await;
            }
        }
        self.sent += EACH;
    }

    async fn try_emit(&self, stream: i64, number: i64) -> Result<()> {
        let key = format!("{stream}/{number}");
        let command = Emit { stream: stream.to_string(), number };
        self.service.send(command).idempotency_key(key).await
    }

    /// Waits until the broken store has failed the ledger often.
    pub async fn until_it_failed(&self) {
        let failed = async || self.failures.count() >= FAILURES;
        until("the store fails", PATIENCE, failed).await;
        self.failures.reset();
    }

    /// Ends the service, which may have to cut off what waits for the store, and starts it again
    /// once `fixed`.
    pub async fn restart(&mut self, fixed: impl Future<Output = ()>) {
        let _ = self.service.shutdown().await;
        fixed.await;
        self.service = start(&self.store, &self.transport, &self.failures).await;
    }

    /// Everything that was sent took effect once, in order, and nothing was given up.
    pub async fn check(&self) {
        let all: Vec<i64> = (0..self.sent).collect();
        for stream in 0..STREAMS {
            let wait = async || self.received(stream).await.len() >= all.len();
            until("everything arrives", PATIENCE, wait).await;
        }
        self.service.wait_until_idle().await.unwrap();
        for stream in 0..STREAMS {
            assert_eq!(self.received(stream).await, all, "stream {stream}");
        }
        let totals = self.service.totals().await.unwrap();
        assert_eq!((totals.dead_letters, totals.waiting, totals.parked), (0, 0, 0), "{totals:?}");
    }

    async fn received(&self, stream: i64) -> Vec<i64> {
        self.service.query(Received(stream.to_string())).await.unwrap_or_default()
    }
}

async fn start(store: &str, transport: &str, failures: &Failures) -> RunningService {
    let settings =
        Settings::default().with_poll(Duration::from_millis(50)).with_drain(Duration::from_secs(2));
    let service = Service::new(settings).store_url(store).transport_url(transport);
    contexts(failures).into_iter().fold(service, Service::host).start().await.unwrap()
}
