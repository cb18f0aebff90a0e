//! Publishing and consuming over RabbitMQ compared with the same written by hand with lapin, and the
//! whole way from a commit on PostgreSQL to a handler in another process.
//!
//! Both sides use one broker, one queue, the same route, headers and window, and take turns. They have
//! a virtual host of their own on the broker of `./dev servers`. The parts are `lapin` and `journey`:
//! `./dev bench rabbitmq journey` runs the second one only.

mod support;

#[path = "support/by_lapin.rs"]
mod by_lapin;
#[path = "support/rabbitmq_journey.rs"]
mod journey;

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mamey::id::{IdSource, UuidV7Source};
use mamey::message::{ContextName, Envelope, Metadata, Partition};
use mamey::messaging::{RabbitOptions, RabbitTransport};
use mamey::transport::{Publisher, Settlement, Subscription, Topology, Transport};

use by_lapin::ByLapin;
use support::{Measured, Report, wants};

/// The sizes of the payloads, in bytes.
const SIZES: [usize; 2] = [256, 4096];

/// How many messages are unconfirmed, or unacknowledged, at a time.
const WINDOW: usize = 256;

/// How many messages each side moves in a turn.
const MESSAGES: usize = 8000;

/// How many messages it moves when each is confirmed before the next.
const MESSAGES_ONE_BY_ONE: usize = 200;

/// How often each side has its turn.
const ROUNDS: usize = 7;

const CONTEXT: &str = "bench";

const NAME: &str = "bench.happened";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Rivals {
    ours: RabbitTransport,
    publisher: Arc<dyn Publisher>,
    theirs: ByLapin,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    if env::args().any(|word| word == journey::RECEIVER) {
        return journey::receive().await;
    }
    let mut report = Report::new("rabbitmq");
    if wants("lapin") {
        against_lapin(&mut report).await?;
    }
    if wants("journey") {
        journey::run(&mut report).await?;
    }
    Ok(report.publish()?)
}

async fn against_lapin(report: &mut Report) -> Outcome<()> {
    let vhost = mamey_test_support::rabbitmq::vhost().await?;
    let rivals = Rivals::connect(vhost.url()).await?;
    for bytes in SIZES {
        rivals.meet(report, bytes).await?;
    }
    report.note("one quorum queue, which each side empties after its turn; confirms are for messages on the disk of one node");
    rivals.ours.close().await;
    Ok(rivals.theirs.close().await?)
}

impl Rivals {
    async fn connect(url: &str) -> Outcome<Self> {
        let ours = RabbitTransport::connect(url, RabbitOptions::default()).await?;
        let topology = Topology::new(ContextName::new(CONTEXT)?, 1)
            .with_handles(vec![NAME])
            .with_publishes(vec![NAME]);
        ours.apply(&topology).await?;
        let publisher = ours.publisher();
        Ok(Self { ours, publisher, theirs: ByLapin::connect(url).await? })
    }

    /// Lets the sides publish and then consume in turns; each starts every other round.
    async fn meet(&self, report: &mut Report, bytes: usize) -> Outcome<()> {
        let (mut published, mut consumed, mut one_by_one) = <(Turns, Turns, Vec<f64>)>::default();
        // The first round does not count: queues and buffers grow during it.
        for round in 0..=ROUNDS {
            for turn in 0..2 {
                let ours = (round + turn) % 2 == 0;
                let rates = match ours {
                    true => (
                        self.publish(envelopes(bytes, MESSAGES), WINDOW).await?,
                        self.consume(MESSAGES).await?,
                    ),
                    false => (
                        self.theirs.publish(envelopes(bytes, MESSAGES), WINDOW).await?,
                        self.theirs.consume(MESSAGES, WINDOW).await?,
                    ),
                };
                if round > 0 {
                    published.side(ours).push(rates.0);
                    consumed.side(ours).push(rates.1);
                }
            }
            if round > 0 {
                let few = envelopes(bytes, MESSAGES_ONE_BY_ONE);
                one_by_one.push(self.theirs.publish(few, 1).await?);
                self.theirs.consume(MESSAGES_ONE_BY_ONE, WINDOW).await?;
            }
        }
        let alone = Turns { ours: published.ours.clone(), theirs: one_by_one };
        let lone = self.publish(envelopes(bytes, MESSAGES_ONE_BY_ONE), 1).await?;
        self.consume(MESSAGES_ONE_BY_ONE).await?;
        let against = |what: &str| format!("{bytes} B: {what}");
        report.add(published.measured(against("publish confirmed, same window"), 0.95));
        report.add(alone.measured(against("publish confirmed, lapin one by one"), 8.0));
        report.add(Measured::limit(against("a lone publish"), 1000.0 / lone, "ms", None));
        report.add(consumed.measured(against("consume and acknowledge"), 0.9));
        Ok(())
    }

    async fn publish(&self, envelopes: Vec<Envelope>, window: usize) -> Outcome<f64> {
        let count = envelopes.len();
        let begin = Instant::now();
        let publish = async |envelope: Envelope| self.publisher.publish(&envelope).await;
        let mut confirms = stream::iter(envelopes).map(publish).buffer_unordered(window);
        let mut confirms = std::pin::pin!(confirms.by_ref());
        while let Some(confirmed) = confirms.next().await {
            confirmed?;
        }
        Ok(per_second(count, begin.elapsed()))
    }

    async fn consume(&self, count: usize) -> Outcome<f64> {
        let subscription =
            Subscription::new(ContextName::new(CONTEXT)?, Partition::new(0, 1)?, WINDOW as u16);
        let begin = Instant::now();
        let mut subscriber = self.ours.subscribe(&subscription).await?;
        for _ in 0..count {
            let delivery = subscriber.next().await?.ok_or("the subscription has ended")?;
            delivery.settle(Settlement::Ack);
        }
        Ok(per_second(count, begin.elapsed()))
    }
}

/// What each side reached in its turns, in messages per second.
#[derive(Default)]
struct Turns {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Turns {
    fn side(&mut self, ours: bool) -> &mut Vec<f64> {
        if ours { &mut self.ours } else { &mut self.theirs }
    }

    fn measured(&self, name: String, target: f64) -> Measured {
        let sides = [&*self.ours, &*self.theirs];
        let rate = |ours, theirs| ours / theirs;
        Measured::peer(name, "messages/s", sides, rate, Some(target))
    }
}

/// Messages with keys, as the relay publishes them.
fn envelopes(bytes: usize, count: usize) -> Vec<Envelope> {
    let ids = UuidV7Source::default();
    let payload = serde_json::to_vec(&"x".repeat(bytes - 2)).unwrap_or_default();
    let envelope = |number: usize| {
        let mut metadata = Metadata::new(ids.message_id(), NAME, CONTEXT);
        metadata.key = Some(format!("key-{}", number % WINDOW).into());
        Envelope::new(metadata, payload.clone().into())
    };
    (0..count).map(envelope).collect()
}

fn per_second(messages: usize, took: Duration) -> f64 {
    messages as f64 / took.as_secs_f64()
}
