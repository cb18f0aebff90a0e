//! Receivers in processes of their own, on one PostgreSQL: killed while they handle, paused past
//! their leases, and started when many messages wait.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mamey::clock::SystemClock;
use mamey::messaging;
use mamey_cqrs::{ContextRuntime, Resources};
use mamey_test_support::{example, postgres, rabbitmq, require, signal, terminate};

use crate::domain::{Count, Tally, receiver};
use crate::outcome::{Outcome, Sender, settings};

/// Short, so that the partitions of a killed instance are soon free.
const LEASE: Duration = Duration::from_secs(2);

/// Processes share a machine: few connections each, and time to open them.
const STORE_PARAMETERS: &str =
    "connections_max=4&connect_timeout_ms=60000&acquire_timeout_ms=60000";

/// How many receivers share the work.
const INSTANCES: usize = 2;

/// What the receivers share, and access to their counts.
struct Place {
    database: postgres::Database,
    vhost: rabbitmq::Vhost,
    runtime: Arc<ContextRuntime>,
}

/// One receiver, killed when the test ends.
struct Instance(Child);

impl Place {
    async fn new(database: postgres::Database, vhost: rabbitmq::Vhost) -> Self {
        let clock = Arc::new(SystemClock);
        let opened = mamey::persistence::connect(database.url(), clock).await.unwrap();
        let store = opened.open(&receiver().schema().unwrap()).await.unwrap();
        let runtime = receiver().open(Resources::new(store)).unwrap();
        // The messages have a route before a receiver runs.
        let transport = messaging::connect(vhost.url()).await.unwrap();
        transport.apply(&receiver().topology(settings().partitions).unwrap()).await.unwrap();
        transport.close().await;
        Self { database, vhost, runtime }
    }

    fn instance(&self) -> Instance {
        let store = format!("{}?{STORE_PARAMETERS}", self.database.url());
        let process = Command::new(example("rabbitmq_faults_worker"))
            .env("MAMEY_STORE", store)
            .env("MAMEY_TRANSPORT", self.vhost.url())
            .env("MAMEY_LEASE_MS", LEASE.as_millis().to_string())
            .env("MAMEY_POLL_MS", "100")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its log is shown if the test fails.
            .stderr(Stdio::inherit())
            .spawn();
        Instance(process.unwrap())
    }

    fn instances(&self) -> Vec<Instance> {
        (0..INSTANCES).map(|_| self.instance()).collect()
    }

    async fn sender(&self) -> Sender {
        Sender::start(self.vhost.url()).await
    }

    async fn tally(&self) -> Tally {
        self.runtime.query(Count).await.unwrap()
    }

    async fn until_handled(&self, messages: u64) {
        let handled = async || self.tally().await.handled;
        crate::outcome::until_reaches("handled", messages, handled).await;
    }

    async fn finish(&self, sender: Sender, instances: Vec<Instance>) -> Outcome {
        let outcome = sender.finish(async || self.tally().await).await;
        let duplicates = instances.into_iter().map(Instance::end).sum();
        Outcome { duplicates, ..outcome }
    }
}

impl Instance {
    fn kill(mut self) {
        // On Unix this is SIGKILL: no destructor and no signal handler runs.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Shuts it down, and returns how many duplicates it absorbed.
    fn end(mut self) -> u64 {
        terminate(&self.0);
        let mut output = String::new();
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut output).unwrap();
        assert!(self.0.wait().unwrap().success());
        output.trim().parse().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn killed(place: &Place, messages: u64, kills: u64) {
    let (mut sender, mut instances) = (place.sender().await, place.instances());
    sender.emit(messages, 2).await;
    for kill in 1..=kills {
        place.until_handled(messages * kill / (kills + 2)).await;
        instances.remove(0).kill();
        instances.push(place.instance());
    }
    let outcome = place.finish(sender, instances).await;
    outcome.check(&format!("{kills} SIGKILLs while handling"), kills);
}

async fn paused(place: &Place, messages: u64) {
    let (mut sender, instances) = (place.sender().await, place.instances());
    sender.emit(messages, 2).await;
    place.until_handled(messages / 4).await;
    signal(&instances[0].0, "STOP");
    tokio::time::sleep(LEASE * 3).await;
    // The other one takes over what is in flight.
    let before = place.tally().await.handled;
    place.until_handled((before + 100).min(messages)).await;
    signal(&instances[0].0, "CONT");
    place.finish(sender, instances).await.check("paused past its lease and resumed", 1);
}

async fn waiting(place: &Place, messages: u64) {
    let mut sender = place.sender().await;
    sender.emit(messages, 0).await;
    sender.until_confirmed(messages).await;
    assert_eq!(place.tally().await, Tally::default());
    let instances = place.instances();
    place.finish(sender, instances).await.check(&format!("{messages} messages waiting"), 1);
}

macro_rules! place {
    () => {{
        let database = require!(postgres::database().await);
        let vhost = require!(rabbitmq::vhost().await);
        Place::new(database, vhost).await
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_are_killed_lose_nothing() {
    killed(&place!(), 2_000, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_paused_past_its_lease_does_nothing_twice() {
    paused(&place!(), 3_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_receivers() {
    waiting(&place!(), 5_000).await;
}

#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_are_killed_many_times_lose_nothing() {
    killed(&place!(), 10_000, 20).await;
}

#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_messages_wait_for_receivers() {
    waiting(&place!(), 100_000).await;
}
