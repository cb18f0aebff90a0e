//! Hands requests directly to the contexts of this process, each in a task of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mamey_core::message::{ContextName, Envelope, Metadata, Target};
use mamey_core::transport::{REQUESTS_SERVED_MAX, RequestTotals, Requester, Responder, Serving};
use mamey_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{closed, unserved};
use super::wire;
use crate::common::respond::respond;
use crate::common::waiting::Waiting;

/// The contexts of this process that serve requests, and the requests that wait.
#[derive(Default)]
pub(super) struct Requests {
    waiting: Arc<Waiting>,
    served: Mutex<Served>,
}

#[derive(Default)]
struct Served {
    closed: bool,
    /// The servers of a context take turns.
    contexts: BTreeMap<ContextName, VecDeque<Arc<Server>>>,
}

/// One instance of a context that serves.
struct Server {
    context: ContextName,
    responder: Arc<dyn Responder>,
    places: Arc<Semaphore>,
}

struct MemoryServing {
    requests: Arc<Requests>,
    server: Arc<Server>,
}

impl Requests {
    pub(super) fn serve(
        self: &Arc<Self>,
        context: &ContextName,
        responder: Arc<dyn Responder>,
    ) -> Result<Box<dyn Serving>> {
        let places = Arc::new(Semaphore::new(REQUESTS_SERVED_MAX));
        let server = Arc::new(Server { context: context.clone(), responder, places });
        let mut served = self.served();
        if served.closed {
            return Err(closed());
        }
        served.contexts.entry(context.clone()).or_default().push_back(Arc::clone(&server));
        Ok(Box::new(MemoryServing { requests: Arc::clone(self), server }))
    }

    pub(super) fn close(&self) {
        let mut served = self.served();
        served.closed = true;
        served.contexts.clear();
        drop(served);
        self.waiting.fail_all(closed);
    }

    /// A server of the context that is meant, and a place to be served in.
    fn route(&self, metadata: &Metadata) -> Result<(Arc<Server>, OwnedSemaphorePermit)> {
        let Target::Service(context) = &metadata.target else {
            return Err(Error::invalid("a request is for one context by name"));
        };
        let mut served = self.served();
        if served.closed {
            return Err(closed());
        }
        let servers = served.contexts.get_mut(context).filter(|servers| !servers.is_empty());
        let Some(servers) = servers else {
            return Err(unserved(&metadata.name, context));
        };
        for _ in 0..servers.len() {
            servers.rotate_left(1);
            if let Some(server) = servers.front()
                && let Ok(place) = Arc::clone(&server.places).try_acquire_owned()
            {
                return Ok((Arc::clone(server), place));
            }
        }
        Err(Error::unavailable(format!(
            "context `{context}` serves {REQUESTS_SERVED_MAX} requests at a time and has no place \
             free; ask again later"
        )))
    }

    /// The lock is held for a few map operations, never across an await.
    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Requester for Requests {
    async fn request(&self, request: &Envelope, timeout: Duration) -> Result<Envelope> {
        let metadata = &request.metadata;
        wire::check(request)?;
        let waiting = self.waiting.begin(metadata.id, request.payload.len())?;
        let (server, place) = self.route(metadata)?;
        let (table, request) = (Arc::clone(&self.waiting), request.clone());
        // In a task of its own, as in another process: a caller that gives up stops no handler.
        tokio::spawn(async move {
            let id = request.metadata.id;
            let reply = respond(&*server.responder, &server.context, request).await;
            drop(place);
            table.finish(id, Ok(reply));
        });
        waiting.within(timeout, metadata).await
    }

    fn totals(&self) -> RequestTotals {
        self.waiting.totals()
    }
}

#[async_trait]
impl Serving for MemoryServing {
    async fn stop(&self) {
        self.requests.remove(&self.server);
        // Once it holds every place, no request runs any more.
        let places = u32::try_from(REQUESTS_SERVED_MAX).unwrap_or(u32::MAX);
        let _all = self.server.places.acquire_many(places).await;
    }
}

impl Requests {
    fn remove(&self, server: &Arc<Server>) {
        let mut served = self.served();
        if let Some(servers) = served.contexts.get_mut(&server.context) {
            servers.retain(|other| !Arc::ptr_eq(other, server));
        }
    }
}

impl Drop for MemoryServing {
    fn drop(&mut self) {
        self.requests.remove(&self.server);
    }
}
