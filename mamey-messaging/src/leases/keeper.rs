//! Keeps the leases of a relay or a consumer alive, and counts how long they may be worked under.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::store::{Lease, LeaseRequest, Store};
use mamey_core::{Error, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::held::{Held, Tenure};
use crate::guard::guarded;
use crate::quiet::Quiet;

/// Leases are renewed when a third of their time is over, so two renewals may fail.
const RENEWALS_PER_DURATION: u32 = 3;

/// How many leases may wait to be given back: more than there are partitions.
const RELEASES_MAX: usize = 128;

/// A task that renews leases until it is retired or dropped.
pub(crate) struct Leasing {
    held: watch::Receiver<Held>,
    releases: mpsc::Sender<Lease>,
    retire: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Leasing {
    pub(crate) fn start(store: Arc<dyn Store>, request: LeaseRequest) -> Self {
        let (held, receiver) = watch::channel(Held::nothing());
        let (releases, released) = mpsc::channel(RELEASES_MAX);
        let (retire, retired) = oneshot::channel();
        let keeper = Keeper { store, request, held, released, tenures: 0, quiet: Quiet::default() };
        Self {
            held: receiver,
            releases,
            retire: Some(retire),
            task: tokio::spawn(keeper.run(retired)),
        }
    }

    /// What is held, and a way to await its changes.
    pub(crate) fn held(&self) -> watch::Receiver<Held> {
        self.held.clone()
    }

    /// Gives a lease back. Its work must be finished.
    pub(crate) fn release(&self, lease: Lease) {
        // When nothing takes it, the task has ended: the lease expires by itself.
        let _ = self.releases.try_send(lease);
    }

    /// Gives everything back and leaves the list of the living. All work must be finished.
    pub(crate) async fn retire(mut self) {
        if let Some(retire) = self.retire.take() {
            let _ = retire.send(());
        }
        if let Err(cause) = (&mut self.task).await {
            tracing::error!(%cause, "the task that keeps leases failed; they expire by themselves");
        }
    }
}

impl Drop for Leasing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All calls about leases come from here, one at a time: a release can never cross a renewal.
struct Keeper {
    store: Arc<dyn Store>,
    request: LeaseRequest,
    held: watch::Sender<Held>,
    released: mpsc::Receiver<Lease>,
    tenures: u64,
    quiet: Quiet,
}

impl Keeper {
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

    /// Renews, and says when to do so again.
    async fn hold(&mut self) -> Instant {
        // Counted from before the call: the database's clock starts at some later moment.
        let asked = Instant::now();
        let store = Arc::clone(&self.store);
        match self.in_time(store.hold_leases(self.request)).await {
            Ok(holdings) => {
                let held = Held {
                    leases: self.tenures_of(&holdings.leases),
                    surplus: holdings.surplus,
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
            self.report(&error, "a lease could not be given back; it expires by itself");
        }
    }

    async fn retire(mut self) {
        let store = Arc::clone(&self.store);
        let retired = store.retire(self.request.role, self.request.holder);
        if let Err(error) = self.in_time(retired).await {
            self.report(&error, "leases could not be given back; they expire by themselves");
        }
    }

    /// A call that hangs must not keep the next renewal from being tried.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.renewal_interval();
        timeout(limit, guarded(call)).await.unwrap_or_else(|_| {
            Err(Error::timed_out(format!("the store did not answer within {limit:?}")))
        })
    }

    fn report(&mut self, error: &Error, what: &'static str) {
        let role = self.request.role.as_str();
        if let Some(held_back) = self.quiet.report() {
            tracing::error!(role, %error, held_back, "{what}");
        }
    }
}
