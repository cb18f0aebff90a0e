//! Answers the requests of other contexts, through the pipeline that every call goes through.

use std::any::TypeId;
use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use mamey_core::context::Cause;
use mamey_core::json::to_json;
use mamey_core::message::{
    ByCommand, ByQuery, ContextName, Direction, Envelope, IDEMPOTENCY_KEY_HEADER,
};
use mamey_core::transport::Responder;
use mamey_core::{Command, Error, Query, Request, Result};

use crate::pipeline::idempotency::Idempotency;
use crate::pipeline::layer::InvocationKind;
use crate::pipeline::work::{Asked, Sent, decode};
use crate::runtime::ContextRuntime;
use crate::runtime::registry::Registry;
use crate::runtime::request::unknown;

/// How requests of one kind are answered. Nothing to implement: it holds for every [`Request`].
pub trait Serves<R: Request>: sealed::Serve<R> {}

impl<R: Request, K: sealed::Serve<R>> Serves<R> for K {}

/// The requests that one context answers, by name.
#[derive(Default)]
pub(crate) struct Served(BTreeMap<&'static str, Entry>);

struct Entry {
    kind: InvocationKind,
    message: TypeId,
    answer: for<'r> fn(&'r ContextRuntime, Envelope) -> BoxFuture<'r, Result<Bytes>>,
}

impl Served {
    pub(crate) fn add<R: Request>(&mut self)
    where
        R::Kind: Serves<R>,
    {
        let entry = Entry {
            kind: <R::Kind as sealed::Serve<R>>::KIND,
            message: TypeId::of::<R>(),
            answer: |runtime, request| Box::pin(answer::<R>(runtime, request)),
        };
        self.0.insert(R::NAME, entry);
    }

    /// What is wrong with the requests that nothing here handles.
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
                "context `{context}` serves `{name}` and does not handle it: add \
                 `.{kind}(…)` with its handler, or remove `.serves::<…>()`"
            )
        })
    }
}

async fn answer<R: Request>(runtime: &ContextRuntime, request: Envelope) -> Result<Bytes>
where
    R::Kind: Serves<R>,
{
    let message = decode::<R>(&request)?;
    let reply = <R::Kind as sealed::Serve<R>>::run(runtime, message, request).await?;
    to_json(&reply).map_err(|cause| {
        Error::invalid(format!("the reply to `{}` cannot be written as JSON: {cause}", R::NAME))
            .with_source(cause)
    })
}

impl ContextRuntime {
    /// Answers also while the service drains: the handlers that still run may need the answer.
    async fn answer(&self, request: Envelope) -> Result<Bytes> {
        match self.served.0.get(&*request.metadata.name) {
            Some(entry) => (entry.answer)(self, request).await,
            None => Err(unserved(self.name(), &request.metadata.name)),
        }
    }
}

#[async_trait]
impl Responder for ContextRuntime {
    fn serves(&self) -> Vec<&'static str> {
        self.catalog().names(Direction::Serves).collect()
    }

    async fn respond(&self, request: Envelope) -> Envelope {
        let asked = Envelope { metadata: request.metadata.clone(), payload: Bytes::new() };
        let outcome = self.answer(request).await;
        let scope = &self.pipeline.scope;
        asked.reply(&scope.name, scope.ids.message_id(), scope.clock.now(), outcome)
    }
}

fn unserved(context: &ContextName, name: &str) -> Error {
    Error::unroutable(format!(
        "`{name:.64}` has no route: context `{context}` does not serve it; add `.serves::<…>()` \
         there, or mend the target"
    ))
}

mod sealed {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::{
        Asked, ByCommand, ByQuery, Cause, Command, ContextRuntime, Envelope,
        IDEMPOTENCY_KEY_HEADER, Idempotency, InvocationKind, Query, Request, Result, Sent, unknown,
    };

    pub trait Serve<R: Request> {
        const KIND: InvocationKind;

        fn run(
            runtime: &ContextRuntime,
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

        async fn run(runtime: &ContextRuntime, command: C, request: Envelope) -> Result<Y> {
            let metadata = Box::new(request.metadata);
            let mut cause = Cause::from(&*metadata);
            let mut idempotency = None;
            if let Some(key) = metadata.headers.get(IDEMPOTENCY_KEY_HEADER) {
                let key = Idempotency::new(key.to_owned());
                key.check()?;
                idempotency = Some(key);
                // Each repetition is a request with an id of its own: the call's id follows from
                // the key, as it does for callers in this process.
                cause.message_id = None;
            }
            let sent = Sent { command, cause, idempotency, metadata: Some(metadata) };
            match runtime.registry.command::<C>() {
                Some(runner) => runner.run(&runtime.pipeline, sent).await,
                None => Err(unknown(runtime.name(), InvocationKind::Command, C::NAME)),
            }
        }
    }

    impl<Q, Y> Serve<Q> for ByQuery
    where
        Q: Query<Reply = Y> + Request<Reply = Y>,
        Y: Send + 'static,
    {
        const KIND: InvocationKind = InvocationKind::Query;

        async fn run(runtime: &ContextRuntime, query: Q, request: Envelope) -> Result<Y> {
            let metadata = Box::new(request.metadata);
            let cause = Cause::from(&*metadata);
            let asked = Asked { query, cause, metadata: Some(metadata) };
            match runtime.registry.query::<Q>() {
                Some(runner) => runner.run(&runtime.pipeline, asked).await,
                None => Err(unknown(runtime.name(), InvocationKind::Query, Q::NAME)),
            }
        }
    }
}
