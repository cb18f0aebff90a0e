//! Shares the connections out among kinds of work, so that none keeps the others from working.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// What a connection is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What handlers, callers and operators ask for.
    Read,
    /// Leases.
    Lease,
    /// Units of work, and what the relay and the consumer look for and delete: calls that are short.
    Work,
    /// A unit of work that waits for what another transaction holds.
    Wait,
    /// A transaction that a handler opens, and holds while it thinks.
    Transaction,
}

/// Of so many connections one is kept for each kind of work that has some to itself.
const CONNECTIONS_PER_KEPT: u32 = 10;

/// Below so many connections leases use those that are kept for short calls.
const LEASES_APART_FROM: u32 = 6;

/// Below so many connections reads use those that are kept for short calls.
const READS_APART_FROM: u32 = 3;

/// The right to one connection.
#[derive(Debug)]
pub(crate) struct Permit {
    _connection: OwnedSemaphorePermit,
    /// Of those that may wait.
    _wait: Option<OwnedSemaphorePermit>,
}

/// The connections that are kept for one kind of work, and the common ones.
pub(crate) struct Shares {
    reads: Share,
    leases: Share,
    work: Share,
    common: Share,
    /// How many of the common ones may be used to wait.
    waits: Share,
}

impl Shares {
    /// Shares of so many connections, at least one.
    pub(crate) fn new(connections: u32) -> Self {
        let kept = (connections / CONNECTIONS_PER_KEPT).max(1);
        let kept_from = |least: u32| if connections < least { 0 } else { kept };
        let (reads, leases) = (kept_from(READS_APART_FROM), kept_from(LEASES_APART_FROM));
        let work = kept_from(2);
        Self {
            reads: Share::new(reads),
            leases: Share::new(leases),
            work: Share::new(work),
            common: Share::new(connections - reads - leases - work),
            waits: Share::new(kept),
        }
    }

    /// Waits until one more connection may be used.
    pub(crate) async fn acquire(&self, purpose: Purpose) -> Result<Permit, AcquireError> {
        let wait = match purpose {
            // However many units wait, they take few connections from others.
            Purpose::Wait => Some(self.waits.acquire().await?),
            _ => None,
        };
        let connection = match self.kept_for(purpose) {
            None => self.common.acquire().await?,
            Some(kept) => match kept.try_acquire() {
                Some(connection) => connection,
                None => tokio::select! {
                    connection = self.common.acquire() => connection?,
                    connection = kept.acquire() => connection?,
                },
            },
        };
        Ok(Permit { _connection: connection, _wait: wait })
    }

    /// Waits until all connections are back, and lends no more.
    pub(crate) async fn close(&self) {
        for share in [&self.waits, &self.reads, &self.leases, &self.work, &self.common] {
            share.close().await;
        }
    }

    /// The connections that only this and other short work may use, if there are any.
    fn kept_for(&self, purpose: Purpose) -> Option<&Share> {
        let apart = match purpose {
            Purpose::Read => &self.reads,
            Purpose::Lease => &self.leases,
            Purpose::Work => &self.work,
            Purpose::Wait | Purpose::Transaction => return None,
        };
        [apart, &self.work].into_iter().find(|share| share.size > 0)
    }
}

struct Share {
    size: u32,
    permits: Arc<Semaphore>,
}

impl Share {
    fn new(size: u32) -> Self {
        Self { size, permits: Arc::new(Semaphore::new(size as usize)) }
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.permits).acquire_owned().await
    }

    async fn close(&self) {
        // It fails only when the share is closed already.
        let _all = self.permits.acquire_many(self.size).await;
        self.permits.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ALL: [Purpose; 5] =
        [Purpose::Read, Purpose::Lease, Purpose::Work, Purpose::Wait, Purpose::Transaction];

    /// Takes all that may be taken.
    fn take_all(shares: &Shares, purpose: Purpose) -> Vec<Permit> {
        std::iter::from_fn(|| shares.acquire(purpose).now_or_never()?.ok()).collect()
    }

    fn most(connections: u32, purpose: Purpose) -> usize {
        take_all(&Shares::new(connections), purpose).len()
    }

    #[test]
    fn each_kind_of_work_has_its_share() {
        for (connections, expected) in [
            (1, [1, 1, 1, 1, 1]),
            (2, [2, 2, 2, 1, 1]),
            (3, [2, 2, 2, 1, 1]),
            (6, [4, 4, 4, 1, 3]),
            (10, [8, 8, 8, 1, 7]),
            (25, [21, 21, 21, 2, 19]),
        ] {
            assert_eq!(ALL.map(|purpose| most(connections, purpose)), expected, "{connections}");
        }
    }

    /// However many of one kind there are. Who waits, and transactions, hold theirs for longer.
    #[test]
    fn no_kind_of_work_keeps_the_others_from_working() {
        for connections in [6, 10, 25] {
            for greedy in ALL {
                let shares = Shares::new(connections);
                let taken = take_all(&shares, greedy);
                for other in [Purpose::Read, Purpose::Lease, Purpose::Work] {
                    let some = other == greedy || !take_all(&shares, other).is_empty();
                    assert!(some, "{other:?} beside {greedy:?} of {connections}");
                }
                drop(taken);
                assert!(!take_all(&shares, greedy).is_empty(), "{greedy:?} again");
            }
        }
        for connections in 2..6 {
            let shares = Shares::new(connections);
            let _taken = take_all(&shares, Purpose::Transaction);
            for other in [Purpose::Read, Purpose::Lease, Purpose::Work] {
                assert_eq!(take_all(&shares, other).len(), 1, "{other:?} of {connections}");
            }
        }
    }

    #[tokio::test]
    async fn closing_waits_for_what_is_lent_and_lends_no_more() {
        let shares = Shares::new(1);
        let lent = shares.acquire(Purpose::Read).await.unwrap();
        let mut closing = std::pin::pin!(shares.close());
        assert!(closing.as_mut().now_or_never().is_none(), "it closed while one was lent");
        drop(lent);
        closing.await;
        for purpose in ALL {
            assert!(shares.acquire(purpose).await.is_err(), "{purpose:?}");
        }
    }
}
