//! A running shop with its ledgers, and what must hold in the end.

use std::time::Duration;

use mamey::{BoundedContext, RunningService, Service, Settings};

use crate::domain::{Before, Gate, KeptByFast, KeptBySlow, Sell, fast, shop, slow};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// The shop, and the ledgers that a test has.
pub struct World {
    pub service: RunningService,
}

/// The article whose handlers wait.
pub const SLOW: &str = "slow";

pub fn slow_waits(article: &str) -> Before {
    if article == SLOW { Before::Wait } else { Before::Nothing }
}

pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("article {number}")).collect()
}

impl World {
    /// The shop and one ledger, whose messages all come through one partition.
    pub async fn with_one(store: &str, transport: &str, gate: &Gate) -> Self {
        Self::start(store, transport, settings().with_partitions(1), [shop(), slow(gate)]).await
    }

    /// The shop and two ledgers, of which one has handlers that are held.
    pub async fn with_two(store: &str, gate: &Gate) -> Self {
        let contexts = [shop(), slow(gate), fast(&Gate::closed(|_| Before::Nothing))];
        Self::start(store, "memory:", settings(), contexts).await
    }

    pub async fn start(
        store: &str,
        transport: &str,
        settings: Settings,
        contexts: impl IntoIterator<Item = BoundedContext>,
    ) -> Self {
        let service = Service::new(settings).store_url(store).transport_url(transport);
        let service = contexts.into_iter().fold(service, Service::host).start().await.unwrap();
        Self { service }
    }

    /// Sells the next pieces of each article, a few in one unit of work.
    pub async fn sell(&self, articles: &[String], count: i64) {
        for articles in articles.chunks(10) {
            for _ in 0..count / 10 {
                let command = Sell { articles: articles.to_vec(), count: 10 };
                self.service.send(command).await.unwrap();
            }
            if count % 10 > 0 {
                let command = Sell { articles: articles.to_vec(), count: count % 10 };
                self.service.send(command).await.unwrap();
            }
        }
    }

    /// Waits until the transport has everything that was sold.
    pub async fn until_published(&self) {
        let shop = self.service.store("shop").unwrap();
        let gone = async || shop.outbox_depth().await.unwrap().records == 0;
        until("everything is published", gone).await;
    }

    pub async fn kept_by_slow(&self, article: &str) -> Vec<i64> {
        self.service.query(KeptBySlow(article.to_owned())).await.unwrap()
    }

    pub async fn kept_by_fast(&self, article: &str) -> Vec<i64> {
        self.service.query(KeptByFast(article.to_owned())).await.unwrap()
    }

    /// Waits until the slow ledger has `count` pieces of each article, and checks that each was kept
    /// once and in order.
    pub async fn until_slow_has(&self, articles: &[String], count: i64) {
        for article in articles {
            let all = async || self.kept_by_slow(article).await.len() as i64 >= count;
            until(&format!("the slow ledger has all of {article}"), all).await;
            assert_eq!(self.kept_by_slow(article).await, (0..count).collect::<Vec<i64>>());
        }
    }

    /// As [`World::until_slow_has`], of the fast ledger.
    pub async fn until_fast_has(&self, articles: &[String], count: i64) {
        for article in articles {
            let all = async || self.kept_by_fast(article).await.len() as i64 >= count;
            until(&format!("the fast ledger has all of {article}"), all).await;
            assert_eq!(self.kept_by_fast(article).await, (0..count).collect::<Vec<i64>>());
        }
    }

    /// Nothing is left anywhere, and nothing was given up.
    pub async fn end(self) {
        let idle = self.service.wait_until_idle();
        tokio::time::timeout(PATIENCE, idle).await.expect("it is idle in time").unwrap();
        assert_eq!(self.service.totals().await.unwrap().dead_letters, 0);
        self.service.shutdown().await.unwrap();
    }
}

pub fn settings() -> Settings {
    Settings::default().with_poll(Duration::from_millis(50)).with_lease(Duration::from_secs(3))
}

pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    mamey_test_support::until(what, PATIENCE, holds).await;
}
