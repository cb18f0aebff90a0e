//! Sends to a receiver, waits for the end, and reports what happened to the messages.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use mamey::{RunningService, Service, Settings};
use tokio::time::Instant;

use crate::domain::{Emit, Tally, sender};

/// How long a run may make no progress on a busy machine, a broker's restart included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each stream has one key, so this many messages are in flight at a time.
const STREAMS: u32 = 100;

/// How many messages one commit sends.
const BURST: u64 = 10;

/// How many publishers send at a time.
const PUBLISHERS: usize = 32;

/// The most that one fault can deliver again: what two instances may have unconfirmed or unsettled.
pub const DUPLICATES_PER_FAULT_MAX: u64 = 2 * (256 + 8 * 64);

/// What happened to the messages of one run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub published: u64,
    pub confirmed: u64,
    pub tally: Tally,
    pub duplicates: u64,
}

/// The sending service, in this process.
pub struct Sender {
    service: RunningService,
    published: u64,
}

pub fn settings() -> Settings {
    Settings::default().with_poll(Duration::from_millis(100))
}

impl Sender {
    pub async fn start(broker: &str) -> Self {
        let service = Service::new(settings()).store_url("memory:").transport_url(broker);
        let service = service.host(sender()).start().await.unwrap();
        Self { service, published: 0 }
    }

    /// Commits messages over all streams; the relay sends them.
    pub async fn emit(&mut self, messages: u64, handling_ms: u64) {
        assert_eq!(messages % BURST, 0);
        let service = &self.service;
        // The bursts of one stream are sent one after the other.
        let bursts = messages / BURST;
        let emit = async |stream: u32| {
            let of_stream =
                (0..bursts).filter(|burst| burst % u64::from(STREAMS) == u64::from(stream));
            for _ in of_stream {
                service.send(Emit { stream, count: BURST, handling_ms }).await?;
            }
            Ok::<_, mamey::Error>(())
        };
        let emitted = stream::iter(0..STREAMS).map(emit).buffer_unordered(PUBLISHERS);
        emitted.try_collect::<()>().await.unwrap();
        self.published += messages;
    }

    pub async fn confirmed(&self) -> u64 {
        self.service.totals().await.unwrap().published
    }

    pub async fn until_confirmed(&self, messages: u64) {
        let confirmed = async || self.confirmed().await;
        until_reaches("confirmed", messages, confirmed).await;
    }

    /// Waits until everything was handled.
    pub async fn finish(self, tally: impl AsyncFn() -> Tally) -> Outcome {
        let published = self.published;
        self.until_confirmed(published).await;
        until_reaches("handled", published, async || tally().await.handled).await;
        let confirmed = self.confirmed().await;
        self.service.shutdown().await.unwrap();
        Outcome { published, confirmed, tally: tally().await, duplicates: 0 }
    }
}

impl Outcome {
    /// Reports the numbers, and checks what is promised.
    pub fn check(&self, fault: &str, faults: u64) {
        let Self { published, confirmed, tally, duplicates } = *self;
        let lost = published.abs_diff(tally.handled);
        let line = format!(
            "{fault}: published {published}, confirmed {confirmed}, handled {}, lost {lost}, \
             out of order {}, duplicates absorbed {duplicates}",
            tally.handled, tally.out_of_order
        );
        mamey_test_support::note("rabbitmq faults", &line);
        assert_eq!((confirmed, lost, tally.out_of_order), (published, 0, 0), "{line}");
        assert!(duplicates <= faults * DUPLICATES_PER_FAULT_MAX, "{line}");
    }
}

/// Waits until a count is reached, for as long as it grows.
pub async fn until_reaches(what: &str, wanted: u64, count: impl AsyncFn() -> u64) {
    let (mut last, mut patience) = (0, Instant::now() + PATIENCE);
    loop {
        let now = count().await;
        if now >= wanted {
            return;
        }
        if now > last {
            (last, patience) = (now, Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < patience, "{now} of {wanted} {what}, and no progress");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
