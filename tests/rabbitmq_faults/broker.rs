//! Broker faults: restarts, a memory alarm, and a queue's leader that is killed.

use std::time::Duration;

use mamey::{RunningService, Service};
use mamey_test_support::servers::{OwnServers, own};

use crate::domain::{Count, RECEIVER, receiver};
use crate::outcome::{Outcome, Sender, settings};

const MESSAGES: u64 = 10_000;

/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(2);

/// Both sides in this process, over a broker that is our own to break.
pub struct Sides {
    pub sender: Sender,
    pub receiver: RunningService,
}

impl Sides {
    pub async fn start(broker: &str) -> Self {
        let service = Service::new(settings()).store_url("memory:").transport_url(broker);
        // The receiver first, so that the messages have a route.
        let receiver = service.host(receiver()).start().await.unwrap();
        Self { sender: Sender::start(broker).await, receiver }
    }

    pub async fn finish(self) -> Outcome {
        let receiver = self.receiver;
        let outcome = self.sender.finish(async || receiver.query(Count).await.unwrap()).await;
        let duplicates = receiver.totals().await.unwrap().duplicates_absorbed;
        receiver.shutdown().await.unwrap();
        Outcome { duplicates, ..outcome }
    }
}

/// Two nodes, or one node twice, are killed and restarted, at one third and at one half.
async fn restarts(servers: &OwnServers, broker: &str, nodes: [&str; 2], fault: &str) {
    let mut sides = Sides::start(broker).await;
    sides.sender.emit(MESSAGES, 0).await;
    for (share, node) in [3, 2].into_iter().zip(nodes) {
        sides.sender.until_confirmed(MESSAGES / share).await;
        servers.kill(node);
        tokio::time::sleep(FAULT).await;
        servers.resume(node);
    }
    sides.finish().await.check(fault, 2);
}

/// Publishers are blocked for a while, and then continue.
async fn short_of_memory(servers: &OwnServers, broker: &str, node: &str) {
    let watermark = |share: &str| {
        servers.rabbitmqctl(node, &["set_vm_memory_high_watermark", share]);
    };
    let mut sides = Sides::start(broker).await;
    sides.sender.emit(MESSAGES / 2, 0).await;
    sides.sender.until_confirmed(MESSAGES / 2).await;
    watermark("0.000001");
    // The alarm is raised within a second or so.
    tokio::time::sleep(FAULT).await;
    sides.sender.emit(MESSAGES / 2, 0).await;
    let before = sides.sender.confirmed().await;
    tokio::time::sleep(FAULT).await;
    let blocked = (before, sides.sender.confirmed().await);
    watermark("0.6");
    sides.finish().await.check("memory alarm", 1);
    assert_eq!(blocked.0, blocked.1, "nothing is confirmed while publishers are blocked");
    assert!(blocked.0 < MESSAGES, "the alarm blocked nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_or_runs_out_of_memory_loses_nothing() {
    let servers = own("rabbitmq-faults", "rabbitmq");
    let broker = servers.url("MAMEY_TEST_RABBITMQ_URL");
    restarts(&servers, &broker, ["rabbitmq"; 2], "broker restarted at 1/3 and 1/2").await;
    short_of_memory(&servers, &broker, "rabbitmq").await;
}

#[ignore = "takes minutes: starts three nodes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_nodes_and_leaders_loses_nothing() {
    let servers = own("rabbitmq-cluster-faults", "rabbitmq-cluster");
    let brokers = servers.url("MAMEY_TEST_RABBITMQ_CLUSTER_URLS");
    let nodes = ["rabbitmq-1", "rabbitmq-2"];
    restarts(&servers, &brokers, nodes, "nodes of a cluster restarted at 1/3 and 1/2").await;
    leader_killed(&servers, &brokers).await;
    short_of_memory(&servers, &brokers, "rabbitmq-1").await;
}

async fn leader_killed(servers: &OwnServers, brokers: &str) {
    let mut sides = Sides::start(brokers).await;
    sides.sender.emit(MESSAGES, 0).await;
    sides.sender.until_confirmed(MESSAGES / 3).await;
    let leader = leader(servers, &format!("{RECEIVER}.8.0"));
    servers.kill(&leader);
    sides.sender.until_confirmed(MESSAGES).await;
    servers.resume(&leader);
    sides.finish().await.check("leader of a quorum queue killed", 1);
}

/// The node on which the leader of a queue is.
fn leader(servers: &OwnServers, queue: &str) -> String {
    let list = ["--silent", "list_queues", "name", "leader"];
    let listed = servers.rabbitmqctl("rabbitmq-3", &list);
    let leader = listed.lines().find_map(|line| {
        let (name, leader) = line.split_once('\t')?;
        (name == queue).then(|| leader.trim().trim_end_matches("@localhost").to_owned())
    });
    leader.unwrap_or_else(|| panic!("no leader of {queue} in {listed}"))
}
