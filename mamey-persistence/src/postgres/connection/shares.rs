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
    /// Units of work.
    Commit,
    /// What the relay and the consumer look for, and what the relay deletes.
    Relay,
    /// A unit of work that waits for what another transaction holds.
    Wait,
    /// A transaction that a handler opens, and holds while it thinks.
    Transaction,
}

/// Those that have connections to themselves, in the order in which these are dealt out.
const DEALT_TO: [Purpose; 5] =
    [Purpose::Read, Purpose::Lease, Purpose::Commit, Purpose::Relay, Purpose::Wait];

/// The right to one connection.
pub(crate) type Permit = OwnedSemaphorePermit;

/// Half of the connections, dealt out to the purposes one by one, and the common half.
pub(crate) struct Shares {
    dealt: [Share; DEALT_TO.len()],
    common: Share,
}

impl Shares {
    /// Shares of so many connections, at least one.
    pub(crate) fn new(connections: u32) -> Self {
        let dealt = dealt(connections);
        let common = connections - dealt.iter().sum::<u32>();
        Self { dealt: dealt.map(Share::new), common: Share::new(common) }
    }

    /// Waits until one more connection may be used.
    pub(crate) async fn acquire(&self, purpose: Purpose) -> Result<Permit, AcquireError> {
        let Some(own) = self.of(purpose) else {
            return self.common.acquire().await;
        };
        // However many units wait, they take no connection from others.
        if purpose == Purpose::Wait {
            return own.acquire().await;
        }
        if let Some(permit) = own.try_acquire() {
            return Ok(permit);
        }
        tokio::select! {
            permit = self.common.acquire() => permit,
            permit = own.acquire() => permit,
        }
    }

    /// Waits until all connections are back, and lends no more.
    pub(crate) async fn close(&self) {
        for share in self.dealt.iter().chain([&self.common]) {
            share.close().await;
        }
    }

    /// What a purpose has to itself, if anything.
    fn of(&self, purpose: Purpose) -> Option<&Share> {
        let at = DEALT_TO.iter().position(|dealt_to| *dealt_to == purpose)?;
        self.dealt.get(at).filter(|share| share.size > 0)
    }
}

/// How many connections each of [`DEALT_TO`] has to itself.
fn dealt(connections: u32) -> [u32; DEALT_TO.len()] {
    let mut left = connections / 2;
    let mut dealt = [0; DEALT_TO.len()];
    while left > 0 {
        for share in &mut dealt {
            let one = left.min(1);
            *share += one;
            left -= one;
        }
    }
    dealt
}

struct Share {
    size: u32,
    permits: Arc<Semaphore>,
}

impl Share {
    fn new(size: u32) -> Self {
        Self { size, permits: Arc::new(Semaphore::new(size as usize)) }
    }

    fn try_acquire(&self) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    async fn acquire(&self) -> Result<Permit, AcquireError> {
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

    /// Takes all that may be taken.
    fn take_all(shares: &Shares, purpose: Purpose) -> Vec<Permit> {
        std::iter::from_fn(|| shares.acquire(purpose).now_or_never()?.ok()).collect()
    }

    #[test]
    fn half_of_the_connections_is_dealt_out_in_order() {
        for (connections, expected) in [
            (1, [0, 0, 0, 0, 0]),
            (2, [1, 0, 0, 0, 0]),
            (3, [1, 0, 0, 0, 0]),
            (4, [1, 1, 0, 0, 0]),
            (9, [1, 1, 1, 1, 0]),
            (10, [1, 1, 1, 1, 1]),
            (21, [2, 2, 2, 2, 2]),
            (25, [3, 3, 2, 2, 2]),
        ] {
            assert_eq!(dealt(connections), expected, "{connections}");
        }
    }

    #[test]
    fn none_keeps_the_others_from_working() {
        let all = DEALT_TO.into_iter().chain([Purpose::Transaction]);
        for greedy in all.clone() {
            let shares = Shares::new(10);
            let taken = take_all(&shares, greedy);
            let expected = match greedy {
                Purpose::Wait => 1,
                Purpose::Transaction => 5,
                _ => 6,
            };
            assert_eq!(taken.len(), expected, "{greedy:?}");
            for other in DEALT_TO.into_iter().filter(|other| *other != greedy) {
                assert!(!take_all(&shares, other).is_empty(), "{other:?} beside {greedy:?}");
            }
            drop(taken);
            assert_eq!(take_all(&shares, greedy).len(), expected, "{greedy:?} again");
        }
    }

    #[test]
    fn of_few_connections_all_purposes_have_some() {
        for connections in 1..10 {
            for purpose in DEALT_TO.into_iter().chain([Purpose::Transaction]) {
                let shares = Shares::new(connections);
                let taken = take_all(&shares, purpose).len();
                assert!(
                    (1..=connections as usize).contains(&taken),
                    "{purpose:?} of {connections}"
                );
            }
        }
    }

    #[tokio::test]
    async fn closing_waits_for_what_is_lent_and_ends_who_waits() {
        let shares = Shares::new(1);
        let lent = shares.acquire(Purpose::Read).await.unwrap();
        let mut waits = std::pin::pin!(shares.acquire(Purpose::Commit));
        assert!(waits.as_mut().now_or_never().is_none());
        let closing = shares.close();
        let finish = async {
            tokio::task::yield_now().await;
            drop(lent);
        };
        let (waited, (), ()) = tokio::join!(waits.map(|permit| permit.map(drop)), closing, finish);
        // It came before the closing.
        assert!(waited.is_ok());
        assert!(shares.acquire(Purpose::Transaction).await.is_err());
    }
}
