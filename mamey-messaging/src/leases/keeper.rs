//! Renews the leases of a relay or a consumer, and says until when work may begin under them.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::store::{Lease, LeaseRequest, Store};
use mamey_core::{Error, LogThrottle, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::held::{Held, Tenure};
use crate::guard::guarded;

/// Leases are renewed after a third of their duration, so two renewals may fail.
const RENEWALS_PER_DURATION: u32 = 3;

/// How many leases may wait to be released: more than there are partitions.
const RELEASES_MAX: usize = 128;

/// A task that renews leases until it is retired or dropped.
pub(crate) struct LeaseKeeper {
    held: watch::Receiver<Held>,
    releases: mpsc::Sender<Lease>,
    retire: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl LeaseKeeper {
    pub(crate) fn start(store: Arc<dyn Store>, request: LeaseRequest) -> Self {
        let (held, receiver) = watch::channel(Held::nothing());
        let (releases, released) = mpsc::channel(RELEASES_MAX);
        let (retire, retired) = oneshot::channel();
        let task =
            Task { store, request, held, released, tenures: 0, throttle: LogThrottle::default() };
        Self {
            held: receiver,
            releases,
            retire: Some(retire),
            task: tokio::spawn(task.run(retired)),
        }
    }

    /// What is held; changes can be awaited.
    pub(crate) fn held(&self) -> watch::Receiver<Held> {
        self.held.clone()
    }

    /// Releases a lease. Its work must be finished.
    pub(crate) fn release(&self, lease: Lease) {
        // If nothing takes it, the task has ended, and the lease expires.
        let _ = self.releases.try_send(lease);
    }

    /// Releases everything, and no longer counts as alive. All work must be finished.
    pub(crate) async fn retire(mut self) {
        if let Some(retire) = self.retire.take() {
            let _ = retire.send(());
        }
        if let Err(cause) = (&mut self.task).await {
            tracing::error!(%cause, "the task that renews leases failed; the leases expire");
        }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes all calls about leases, one at a time, so that a release never overlaps with a renewal.
struct Task {
    store: Arc<dyn Store>,
    request: LeaseRequest,
    held: watch::Sender<Held>,
    released: mpsc::Receiver<Lease>,
    tenures: u64,
    throttle: LogThrottle,
}

impl Task {
    async fn run(mut self, mut retired: oneshot::Receiver<()>) {
        loop {
            let renew_at = self.hold().await;
            loop {
                tokio::select! {
                    _ = &mut retired => return self.retire().await,
                    () = tokio::time::sleep_until(renew_at) => break,
                    Some(lease) = self.released.recv() => self.release(lease).await,
                }
            }
        }
    }

    fn renewal_interval(&self) -> Duration {
        self.request.duration / RENEWALS_PER_DURATION
    }

    /// Renews the leases, and returns when to do so again.
    async fn hold(&mut self) -> Instant {
        // Counted from before the call, because the database starts counting later.
        let asked = Instant::now();
        let store = Arc::clone(&self.store);
        match self.in_time(store.hold_leases(self.request)).await {
            Ok(holdings) => {
                let held = Held {
                    leases: self.tenures_of(&holdings.leases),
                    surplus: holdings.surplus,
                    abandoned: holdings.abandoned,
                    valid_until: asked + self.request.duration,
                };
                self.held.send_replace(held);
                asked + self.renewal_interval()
            }
            Err(error) => {
                self.report(&error, "leases could not be renewed");
                Instant::now() + self.renewal_interval() / 2
            }
        }
    }

    fn tenures_of(&mut self, leases: &[Lease]) -> Vec<Tenure> {
        let before = self.held.borrow().leases.clone();
        let tenure = |lease: &Lease| {
            let kept = before.iter().find(|tenure| tenure.lease == *lease);
            kept.copied().unwrap_or_else(|| {
                self.tenures += 1;
                Tenure { lease: *lease, number: self.tenures }
            })
        };
        leases.iter().map(tenure).collect()
    }

    async fn release(&mut self, lease: Lease) {
        self.held.send_modify(|held| {
            held.leases.retain(|tenure| tenure.lease != lease);
            held.surplus = held.surplus.saturating_sub(1);
        });
        let store = Arc::clone(&self.store);
        if let Err(error) = self.in_time(store.release_leases(&[lease])).await {
            self.report(&error, "a lease could not be released; it expires");
        }
    }

    async fn retire(mut self) {
        let store = Arc::clone(&self.store);
        let retired = store.retire(self.request.role, self.request.holder);
        if let Err(error) = self.in_time(retired).await {
            self.report(&error, "leases could not be released; they expire");
        }
    }

    /// Limits a call: one that hangs must not delay the next renewal.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.renewal_interval();
        timeout(limit, guarded(call)).await.unwrap_or_else(|_| {
            Err(Error::timed_out(format!("the store did not answer within {limit:?}")))
        })
    }

    fn report(&mut self, error: &Error, what: &'static str) {
        let role = self.request.role.as_str();
        if let Some(suppressed) = self.throttle.admit(Instant::now().into_std()) {
            tracing::error!(role, %error, suppressed, "{what}");
        }
    }
}
