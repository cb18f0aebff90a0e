//! Answers the requests of other contexts, through the same pipeline as every other call.

use std::any::TypeId;
use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use mamey_core::context::Cause;
use mamey_core::json::to_json;
use mamey_core::message::{ByCommand, ByQuery, ContextName, Envelope, IDEMPOTENCY_KEY_HEADER};
use mamey_core::{Command, Error, Query, Request, Result, Retry};

use super::dispatch::Dispatcher;
use super::registry::Registry;
use crate::pipeline::decode::decode;
use crate::pipeline::idempotency_key::IdempotencyKey;
use crate::pipeline::layer::InvocationKind;

/// How requests of one kind are answered. It is implemented for every [`Request`] already.
pub trait Serves<R: Request>: sealed::Serve<R> {}

impl<R: Request, K: sealed::Serve<R>> Serves<R> for K {}

/// The requests that one context answers, by name.
#[derive(Default)]
pub(crate) struct Served(BTreeMap<&'static str, Entry>);

struct Entry {
    kind: InvocationKind,
    message: TypeId,
    answer: for<'r> fn(&'r Dispatcher, Envelope) -> BoxFuture<'r, Result<Bytes>>,
}

impl Served {
    pub(crate) fn add<R: Request>(&mut self)
    where
        R::Kind: Serves<R>,
    {
        let entry = Entry {
            kind: <R::Kind as sealed::Serve<R>>::KIND,
            message: TypeId::of::<R>(),
            answer: |dispatcher, request| Box::pin(answer::<R>(dispatcher, request)),
        };
        self.0.insert(R::NAME, entry);
    }

    /// Runs the request's handler and encodes its reply.
    ///
    /// It answers while the service drains, too: the handlers that still run may need the answer.
    pub(super) async fn answer(&self, dispatcher: &Dispatcher, request: Envelope) -> Result<Bytes> {
        match self.0.get(&*request.metadata.name) {
            Some(entry) => (entry.answer)(dispatcher, request).await,
            None => Err(unserved(dispatcher.name(), &request.metadata.name)),
        }
    }

    /// One problem for each request that nothing here handles.
    pub(crate) fn without_handler(
        &self,
        registry: &Registry,
        context: &str,
    ) -> impl Iterator<Item = String> {
        let handled = registry.command_types().chain(registry.query_types());
        let handled: HashSet<TypeId> = handled.map(|(message, _)| message).collect();
        let unhandled = self.0.iter().filter(move |(_, entry)| !handled.contains(&entry.message));
        unhandled.map(move |(name, entry)| {
            let kind = entry.kind;
            format!(
                "context `{context}` serves `{name}` but does not handle it: add \
                 `.{kind}(…)` with its handler, or remove `.serves::<…>()`"
            )
        })
    }
}

async fn answer<R: Request>(dispatcher: &Dispatcher, request: Envelope) -> Result<Bytes>
where
    R::Kind: Serves<R>,
{
    // Another build of this context may read it.
    let message = decode::<R>(&request).map_err(|error| error.with_retry(Retry::Later))?;
    let reply = <R::Kind as sealed::Serve<R>>::run(dispatcher, message, request).await?;
    to_json(&reply).map_err(|cause| {
        Error::invalid(format!("the reply to `{}` cannot be written as JSON: {cause}", R::NAME))
            .with_source(cause)
    })
}

fn unserved(context: &ContextName, name: &str) -> Error {
    Error::unroutable(format!(
        "`{name:.64}` has no route: context `{context}` does not serve it; add `.serves::<…>()` \
         there, or fix the target"
    ))
}

mod sealed {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::{
        ByCommand, ByQuery, Cause, Command, Dispatcher, Envelope, IDEMPOTENCY_KEY_HEADER,
        IdempotencyKey, InvocationKind, Query, Request, Result,
    };

    pub trait Serve<R: Request> {
        const KIND: InvocationKind;

        fn run(
            dispatcher: &Dispatcher,
            message: R,
            request: Envelope,
        ) -> impl Future<Output = Result<R::Reply>> + Send;
    }

    impl<C, Y> Serve<C> for ByCommand
    where
        C: Command<Reply = Y> + Request<Reply = Y>,
        Y: Serialize + DeserializeOwned + Send + 'static,
    {
        const KIND: InvocationKind = InvocationKind::Command;

        async fn run(dispatcher: &Dispatcher, command: C, request: Envelope) -> Result<Y> {
            let metadata = Box::new(request.metadata);
            let mut cause = Cause::from(&*metadata);
            let mut key = None;
            if let Some(text) = metadata.headers.get(IDEMPOTENCY_KEY_HEADER) {
                key = Some(IdempotencyKey::new(text.to_owned(), &command)?);
                // Each repetition is a request with an id of its own: the call's id follows from
                // the key, as it does for callers in this process.
                (cause.message_id, cause.identity) = (None, None);
            }
            dispatcher.command(command, cause, key, Some(metadata)).await
        }
    }

    impl<Q, Y> Serve<Q> for ByQuery
    where
        Q: Query<Reply = Y> + Request<Reply = Y>,
        Y: Send + 'static,
    {
        const KIND: InvocationKind = InvocationKind::Query;

        async fn run(dispatcher: &Dispatcher, query: Q, request: Envelope) -> Result<Y> {
            let metadata = Box::new(request.metadata);
            let cause = Cause::from(&*metadata);
            dispatcher.query(query, cause, Some(metadata)).await
        }
    }
}
