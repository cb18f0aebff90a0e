//! Drives the retries of parked messages: looks for those that are due, and handles them.

use mamey_core::Error;
use mamey_core::message::Partition;
use mamey_core::store::ParkedMessage;
use tokio::time::Instant;

use super::Driver;
use crate::consumer::due::Due;
use crate::consumer::tasks::{Look, Retried};

impl Driver {
    pub(super) fn begin_look(&mut self, now: Instant) {
        let leases = self.assignment.all_active();
        // Without a lease nothing is retried here, but what is taken here may be parked.
        if leases.is_empty() && !self.takes_all {
            return;
        }
        let count = self.parking_limit.begin_count(now, self.options.poll);
        let partitions = leases.into_iter().map(|lease| lease.partition).collect();
        self.parked_lanes.begin_look();
        self.tasks.look(partitions, self.retries.begin_look(now, &self.slots), count);
    }

    pub(super) fn end_look(&mut self, look: Look) {
        if let Some(parked) = look.parked {
            self.parking_limit.counted(&self.context, parked);
        }
        look.unreadable.iter().for_each(|message| self.report_unreadable(message));
        let found = look.due.iter().map(|due| &due.message);
        let found = found.filter_map(|it| Some((it.envelope.lane()?, it.attempts > 0)));
        if self.parked_lanes.end_look(found) {
            self.sort_lanes();
        }
        let (now, next_due_in) = (Instant::now(), look.next_due_in);
        for due in self.retries.end_look(now, look.due, next_due_in, &mut self.slots) {
            self.begin_retry(due);
        }
        if self.retries.has_caught_up(&self.slots) {
            self.go_through_parking(false);
        }
    }

    fn begin_retry(&mut self, due: Due) {
        let slot = due.message.envelope.metadata.slot();
        let Ok(partition) = Partition::of_slot(slot, self.options.partitions) else {
            return;
        };
        self.busy.begin(partition);
        self.tasks.retry(due, partition);
    }

    pub(super) fn end_retry(&mut self, retried: &Retried) {
        let Retried { message, partition, outcome } = retried;
        self.busy.end(*partition);
        self.retries.finished(Instant::now(), message.identity, outcome, &mut self.slots);
        self.parked_lanes.retried(message.envelope.lane().as_ref(), outcome);
    }

    fn report_unreadable(&mut self, message: &ParkedMessage) {
        let identity = message.identity;
        if self.reported.is_new(identity) {
            self.stats.0.unreadable.increment();
            let (context, why) = (&self.context, message.unreadable.as_deref());
            tracing::warn!(
                %context, %identity, why,
                "a parked message cannot be read; it and its lane wait for a build that can"
            );
        }
    }

    pub(super) fn look_failed(&mut self, error: &Error) {
        self.retries.look_failed();
        self.stats.0.store_failures.increment();
        if let Some(suppressed) = self.throttle.admit(Instant::now().into_std()) {
            let context = &self.context;
            tracing::error!(%context, %error, suppressed, "parked messages could not be read");
        }
    }
}
