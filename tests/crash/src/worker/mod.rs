//! A worker: one process of the service under test, which takes orders over its pipes.

mod answers;
mod clock;
mod inspect;
mod late;

use std::sync::Arc;

use mamey::{Result, RunningService, Service, Uuid};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

pub(crate) use clock::CLOCK_AHEAD_MS;
pub(crate) use inspect::{Inspection, inspect};

use self::clock::JumpClock;
use crate::domain::{self, Trials};
use crate::protocol::{Answer, Order, Output};

/// What the tasks of a worker share.
struct Worker {
    service: RunningService,
    clock: Arc<JumpClock>,
    hosts: Vec<String>,
    output: Output,
}

/// Hosts these contexts until it gets the order to stop or the suite is gone.
pub(crate) async fn work(hosts: Vec<String>) -> Result<()> {
    let output = Output::new();
    let clock = Arc::new(JumpClock::from_env());
    let trials = Trials::new(output.clone());
    let contexts = hosts.iter().filter_map(|name| domain::context(name, &trials));
    let service = contexts.fold(Service::from_env()?.clock(clock.clone()), Service::host);
    let service = service.start().await?;
    let worker = Arc::new(Worker { service, clock, hosts, output });
    worker.output.write(&Answer::Ready);
    let orders = BufReader::new(tokio::io::stdin()).lines();
    tokio::select! {
        () = take_orders(&worker, orders) => {}
        // A part of the service has failed permanently: the process ends, as any program would, and is
        // started again.
        () = worker.service.wait_for_shutdown() => {}
    }
    worker.service.shutdown().await
}

/// Ends with the order to stop, or when the suite is gone.
async fn take_orders(worker: &Arc<Worker>, mut orders: Lines<BufReader<Stdin>>) {
    while let Ok(Some(line)) = orders.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Order::Stop) => return,
            Ok(Order::Jump { by_ms }) => worker.clock.jump(by_ms),
            Ok(order) => {
                let worker = Arc::clone(worker);
                tokio::spawn(async move { worker.carry_out(order).await });
            }
            Err(error) => tracing::error!(%error, line, "an order could not be read"),
        }
    }
}

impl Worker {
    async fn carry_out(&self, order: Order) {
        let answer = match order {
            Order::Open { account, balance } => self.open(account, balance).await,
            Order::Transfer(transfer) => self.transfer(transfer).await,
            Order::Ask { ask, question } => match self.tell(question).await {
                Ok(told) => Answer::Told { ask, told },
                Err(error) => Answer::Unable { ask, error: error.to_string() },
            },
            Order::Jump { .. } | Order::Stop => return,
        };
        self.output.write(&answer);
    }
}

fn new_instance() -> mamey::store::InstanceId {
    mamey::store::InstanceId::new(Uuid::from_u64_pair(fastrand::u64(..), fastrand::u64(..)))
}
