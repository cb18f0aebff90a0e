//! Runs the relay and the consumer of a context for the number of partitions that is in force.

use std::sync::Arc;

use mamey_core::{ErrorKind, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The number of partitions that a context works over at the moment; none while nobody works.
pub(super) type InForce = watch::Receiver<Option<u16>>;

/// What consumers wait for: on an in-process transport only they confirm what relays publish.
#[derive(Clone, Default)]
pub(super) struct Relaying(Arc<watch::Sender<bool>>);

impl Relaying {
    fn set(&self, relaying: bool) {
        self.0.send_replace(relaying);
    }

    async fn ended(&self) {
        // The sender belongs to `self`, so it exists while this waits.
        let mut relaying = self.0.subscribe();
        let _ended = relaying.wait_for(|relaying| !*relaying).await;
    }
}

/// Runs a relay for each number in force, until it is stopped.
pub(super) async fn relay<F>(
    in_force: InForce,
    relaying: Relaying,
    stop: CancellationToken,
    run: impl Fn(u16, CancellationToken) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let run = |number, stop| {
        let (relaying, work) = (relaying.clone(), run(number, stop));
        async move {
            relaying.set(true);
            let ended = work.await;
            relaying.set(false);
            ended
        }
    };
    follow(in_force, None, stop, run).await
}

/// Runs a consumer for each number in force, until it is stopped. It ends after the relay.
pub(super) async fn consume<F>(
    in_force: InForce,
    relaying: Relaying,
    stop: CancellationToken,
    run: impl Fn(u16, CancellationToken) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    follow(in_force, Some(relaying), stop, run).await
}

async fn follow<F>(
    mut in_force: InForce,
    ends_after: Option<Relaying>,
    stop: CancellationToken,
    run: impl Fn(u16, CancellationToken) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    loop {
        let number = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            number = some(&mut in_force) => number,
        };
        let inner = stop.child_token();
        let mut work = std::pin::pin!(run(number, inner.clone()));
        let changed = async {
            other_than(&mut in_force, number).await;
            if let Some(relaying) = &ends_after {
                relaying.ended().await;
            }
        };
        tokio::select! {
            ended = &mut work => return ended,
            () = changed => inner.cancel(),
        }
        match work.await {
            // What was cut off is done again, as after a shutdown.
            Err(error) if error.kind() == ErrorKind::TimedOut && !stop.is_cancelled() => {
                tracing::warn!(%error, "some work was cut off to change the number of partitions");
            }
            ended => ended?,
        }
    }
}

/// The number in force, once there is one.
async fn some(in_force: &mut InForce) -> u16 {
    loop {
        if let Some(number) = *in_force.borrow_and_update() {
            return number;
        }
        changed(in_force).await;
    }
}

/// Completes when another number, or none, is in force.
async fn other_than(in_force: &mut InForce, number: u16) {
    while *in_force.borrow_and_update() == Some(number) {
        changed(in_force).await;
    }
}

/// Completes when it has changed; never when it no longer can, because the service is ending.
async fn changed(in_force: &mut InForce) {
    if in_force.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
