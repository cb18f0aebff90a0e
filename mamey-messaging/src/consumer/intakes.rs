//! The intakes of a consumer: one for each partition that it takes messages of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{ContextName, Partition};
use mamey_core::transport::{Subscription, Transport};
use tokio::sync::mpsc;

use super::intake::{Intake, Source, Taken};
use super::room::Room;
use crate::stats::ConsumerStats;

/// How many messages may be between the intakes and the lanes.
const TAKEN_MAX: usize = 64;

pub(super) struct Intakes {
    context: ContextName,
    transport: Arc<dyn Transport>,
    prefetch: u16,
    room: Room,
    stats: ConsumerStats,
    running: HashMap<Partition, Intake>,
    last_number: u64,
    sender: mpsc::Sender<Taken>,
    taken: mpsc::Receiver<Taken>,
}

impl Intakes {
    pub(super) fn new(
        context: ContextName,
        transport: Arc<dyn Transport>,
        (prefetch, in_flight_bytes_max): (u16, usize),
        stats: ConsumerStats,
    ) -> Self {
        let (sender, taken) = mpsc::channel(TAKEN_MAX);
        Self {
            context,
            transport,
            prefetch,
            room: Room::new(in_flight_bytes_max),
            stats,
            running: HashMap::new(),
            last_number: 0,
            sender,
            taken,
        }
    }

    /// The next message of any partition.
    pub(super) async fn next(&mut self) -> Option<Taken> {
        self.taken.recv().await
    }

    /// Whether the intake of this number still runs. The messages of one that has ended are
    /// delivered again.
    pub(super) fn is_running(&self, partition: Partition, number: u64) -> bool {
        self.running.get(&partition).is_some_and(|intake| intake.number == number)
    }

    /// Takes messages of the partitions that `takes` selects, and pauses the others.
    pub(super) fn set_taking(&self, takes: impl Fn(Partition) -> bool) {
        for (partition, intake) in &self.running {
            intake.set_taking(takes(*partition));
        }
    }

    /// Begins to take messages of a partition, after a pause.
    pub(super) fn start(&mut self, partition: Partition, pause: Duration) {
        self.last_number += 1;
        let source = Source {
            transport: Arc::clone(&self.transport),
            subscription: Subscription::new(self.context.clone(), partition, self.prefetch),
            taken: self.sender.clone(),
            room: self.room.clone(),
            stats: self.stats.clone(),
        };
        self.running.insert(partition, Intake::start(source, self.last_number, pause));
    }

    pub(super) fn stop(&mut self, partition: Partition) {
        self.running.remove(&partition);
    }

    pub(super) fn stop_all(&mut self) {
        self.running.clear();
    }
}
