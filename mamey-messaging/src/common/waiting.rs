//! The requests of a transport that wait for their replies.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Metadata};
use mamey_core::transport::{REQUESTS_WAITING_BYTES_MAX, REQUESTS_WAITING_MAX, RequestTotals};
use mamey_core::{Error, Result};
use tokio::sync::oneshot;

use crate::stats::Counter;

/// The requests of one transport that wait for their replies.
#[derive(Default)]
pub(crate) struct Waiting {
    requests: Mutex<Requests>,
    replied: Counter,
    timed_out: Counter,
    late_replies: Counter,
}

#[derive(Default)]
struct Requests {
    waiting: HashMap<MessageId, Waiter>,
    /// Of their payloads.
    bytes: usize,
}

struct Waiter {
    tell: oneshot::Sender<Result<Envelope>>,
    bytes: usize,
}

/// One request that waits. Once it is dropped, its reply counts as late.
pub(crate) struct WaitingRequest {
    waiting: Arc<Waiting>,
    id: MessageId,
    reply: oneshot::Receiver<Result<Envelope>>,
}

impl Waiting {
    /// Starts to wait for the reply to a request whose payload has this many bytes.
    ///
    /// # Errors
    /// `Unavailable` when too many wait already.
    pub(crate) fn begin(self: &Arc<Self>, id: MessageId, bytes: usize) -> Result<WaitingRequest> {
        let (tell, reply) = oneshot::channel();
        let mut requests = self.requests();
        if requests.waiting.len() >= REQUESTS_WAITING_MAX {
            return Err(Error::unavailable(format!(
                "{REQUESTS_WAITING_MAX} requests of this process already wait for their replies; \
                 ask again later"
            )));
        }
        let sum = requests.bytes.saturating_add(bytes);
        if sum > REQUESTS_WAITING_BYTES_MAX && !requests.waiting.is_empty() {
            return Err(Error::unavailable(format!(
                "requests of {REQUESTS_WAITING_BYTES_MAX} bytes of this process already wait for \
                 their replies; ask again later"
            )));
        }
        match requests.waiting.entry(id) {
            Entry::Vacant(free) => free.insert(Waiter { tell, bytes }),
            Entry::Occupied(_) => {
                return Err(Error::invalid(format!(
                    "a request with the id {id} already waits; give each request its own id"
                )));
            }
        };
        requests.bytes = sum;
        Ok(WaitingRequest { waiting: Arc::clone(self), id, reply })
    }

    /// Gives a request its reply or error; a reply that arrives late is counted and dropped.
    pub(crate) fn finish(&self, request: MessageId, outcome: Result<Envelope>) {
        let waiter = self.requests().remove(&request);
        let is_reply = outcome.is_ok();
        let taken = waiter.is_some_and(|waiter| waiter.tell.send(outcome).is_ok());
        if is_reply && !taken {
            self.arrived_late(request);
        }
    }

    fn arrived_late(&self, request: MessageId) {
        self.late_replies.increment();
        tracing::debug!(%request, "a reply arrived late and was dropped");
    }

    /// Ends every request that waits.
    pub(crate) fn fail_all(&self, error: impl Fn() -> Error) {
        for (_, waiter) in std::mem::take(&mut *self.requests()).waiting {
            // A request that no longer waits has its own error.
            let _ = waiter.tell.send(Err(error()));
        }
    }

    pub(crate) fn totals(&self) -> RequestTotals {
        RequestTotals::new(self.replied.get(), self.timed_out.get(), self.late_replies.get())
    }

    /// The lock is held for one map operation, never across an await.
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn remove(&mut self, id: &MessageId) -> Option<Waiter> {
        let waiter = self.waiting.remove(id)?;
        self.bytes = self.bytes.saturating_sub(waiter.bytes);
        Some(waiter)
    }
}

impl WaitingRequest {
    /// The reply, if it arrives in time.
    ///
    /// # Errors
    /// `TimedOut`, or why there can be no reply.
    pub(crate) async fn within(mut self, timeout: Duration, of: &Metadata) -> Result<Envelope> {
        match tokio::time::timeout(timeout, &mut self.reply).await {
            Ok(Ok(outcome)) => {
                self.waiting.replied.add(u64::from(outcome.is_ok()));
                outcome
            }
            Ok(Err(_)) => {
                Err(Error::unavailable("the transport was closed before the reply arrived"))
            }
            Err(_) => {
                self.waiting.timed_out.increment();
                Err(too_late(timeout, of))
            }
        }
    }
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        if self.waiting.requests().remove(&self.id).is_some() {
            return;
        }
        // The reply is known; it may have arrived just after the timeout.
        self.reply.close();
        if let Ok(Ok(_reply)) = self.reply.try_recv() {
            self.waiting.arrived_late(self.id);
        }
    }
}

fn too_late(timeout: Duration, of: &Metadata) -> Error {
    Error::timed_out(format!(
        "context `{}` did not answer within {timeout:?}; it may have handled the request \
         nevertheless, so repeat a command with the same idempotency key; if it is just slow, \
         raise `.timeout(…)` of the request",
        of.target
    ))
}

#[cfg(test)]
mod tests {
    use mamey_core::ErrorKind;
    use mamey_core::id::new_uuid;

    use super::*;

    fn metadata() -> Metadata {
        Metadata::new(MessageId::from_uuid(new_uuid()), "catalog.get-price", "orders")
    }

    fn reply() -> Result<Envelope> {
        Ok(Envelope::new(metadata(), bytes::Bytes::new()))
    }

    #[tokio::test]
    async fn as_many_wait_as_the_limit_says_and_the_next_is_refused_at_once() {
        let waiting = Arc::new(Waiting::default());
        let begin = || waiting.begin(metadata().id, 1);
        let mut begun: Vec<_> = (0..REQUESTS_WAITING_MAX).map(|_| begin().unwrap()).collect();
        let error = begin().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        begun.pop();
        assert!(begin().is_ok());
    }

    #[tokio::test]
    async fn requests_wait_within_their_bytes_and_one_alone_beyond_them() {
        let waiting = Arc::new(Waiting::default());
        let begin = |bytes| waiting.begin(metadata().id, bytes);
        let large = begin(REQUESTS_WAITING_BYTES_MAX + 1).unwrap();
        let refused = begin(1).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.to_string().contains(&REQUESTS_WAITING_BYTES_MAX.to_string()), "{refused}");
        drop(large);
        let _half = begin(REQUESTS_WAITING_BYTES_MAX / 2).unwrap();
        let other = begin(REQUESTS_WAITING_BYTES_MAX / 2).unwrap();
        assert!(begin(1).is_err());
        waiting.finish(other.id, reply());
        assert!(begin(1).is_ok());
    }

    #[tokio::test]
    async fn each_reply_is_counted_once_whatever_becomes_of_it() {
        let waiting = Arc::new(Waiting::default());
        let totals = |replied, timed_out, late_replies| {
            assert_eq!(waiting.totals(), RequestTotals::new(replied, timed_out, late_replies));
        };
        let of = metadata();
        let request = waiting.begin(of.id, 0).unwrap();
        waiting.finish(of.id, reply());
        request.within(Duration::from_secs(1), &of).await.unwrap();
        totals(1, 0, 0);
        let request = waiting.begin(of.id, 0).unwrap();
        let error = request.within(Duration::ZERO, &of).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        waiting.finish(of.id, reply());
        totals(1, 1, 1);
        let given_up = waiting.begin(of.id, 0).unwrap();
        waiting.finish(of.id, reply());
        drop(given_up);
        totals(1, 1, 2);
        assert!(waiting.requests().waiting.is_empty());
    }

    #[tokio::test]
    async fn two_requests_of_one_id_are_refused() {
        let waiting = Arc::new(Waiting::default());
        let id = metadata().id;
        let _first = waiting.begin(id, 0).unwrap();
        assert_eq!(waiting.begin(id, 0).err().unwrap().kind(), ErrorKind::Invalid);
    }
}
