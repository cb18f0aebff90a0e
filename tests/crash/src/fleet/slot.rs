//! A place in the fleet, and what the worker that takes it is started with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::process::{Environment, Process};
use crate::journal::Journal;
use crate::place::{Links, Place};
use crate::worker::CLOCK_AHEAD_MS;

/// How long a worker may take to shut down.
pub(super) const END_MAX: Duration = Duration::from_secs(30);

/// How often instances look for work that no notification announced.
const POLL: Duration = Duration::from_millis(100);

/// What all slots share.
pub(crate) struct Shared {
    pub(super) journal: Journal,
    pub(super) place: Arc<Place>,
    /// How far the workers' clocks are ahead, over all rounds.
    pub(super) ahead_ms: Arc<AtomicI64>,
    /// When a process was last ready again after one had ended.
    pub(super) last_restart: Mutex<Option<Instant>>,
    /// How many processes ended at a failpoint.
    pub(super) crashed: AtomicU64,
    pub(super) stopping: watch::Sender<bool>,
}

/// A place in the fleet, taken by one process after the other.
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(super) hosts: Vec<String>,
    pub(crate) links: Links,
    pub(super) current: watch::Sender<Option<Arc<Process>>>,
}

impl Slot {
    pub(super) fn hosts(&self, context: &str) -> bool {
        self.hosts.iter().any(|host| host == context)
    }

    /// Its process, if it is ready.
    pub(crate) fn working(&self) -> Option<Arc<Process>> {
        self.current.borrow().clone().filter(|process| process.is_ready())
    }

    /// What the next process of this slot is started with.
    pub(super) fn environment(
        &self,
        shared: &Shared,
        crash_at: Option<&str>,
        broken_law: Option<&str>,
    ) -> Environment {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
        set("MAMEY_STORE", self.links.store_url.clone());
        set("MAMEY_TRANSPORT", self.links.transport_url.clone());
        set("MAMEY_LEASE_MS", shared.place.lease().as_millis().to_string());
        set("MAMEY_POLL_MS", POLL.as_millis().to_string());
        set("MAMEY_DRAIN_MS", (END_MAX / 2).as_millis().to_string());
        set(CLOCK_AHEAD_MS, shared.ahead_ms.load(Ordering::SeqCst).to_string());
        set("MAMEY_FAILPOINT", crash_at.unwrap_or_default().to_owned());
        set("MAMEY_INJECT_FAULT", broken_law.unwrap_or_default().to_owned());
        Environment { hosts: self.hosts.clone(), variables }
    }
}
