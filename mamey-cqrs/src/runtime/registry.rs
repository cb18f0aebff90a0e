//! Which handler takes which message: looked up by type for callers, by name for consumers.

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use mamey_core::inbound::Incoming;
use mamey_core::store::CommitOutcome;
use mamey_core::{Command, Message, Query, Result, RetryPolicy};
use serde::de::DeserializeOwned;

use crate::handler::{CommandHandler, MessageHandler, QueryHandler};
use crate::pipeline::Pipeline;
use crate::pipeline::work::{Asked, Sent};

/// All handlers of one context.
#[derive(Default)]
pub(crate) struct Registry {
    commands: ByType,
    queries: ByType,
    messages: HashMap<&'static str, MessageEntry>,
    /// Names of messages that this build knows and does not want.
    ignored: BTreeSet<&'static str>,
}

/// Runs one command through the pipeline. The future holds the handler's own: one allocation.
trait RunCommand<C: Command>: Send + Sync {
    fn run<'r>(&'r self, pipeline: &'r Pipeline, sent: Sent<C>) -> BoxFuture<'r, Result<C::Reply>>;
}

/// Runs one query through the pipeline.
trait RunQuery<Q: Query>: Send + Sync {
    fn run<'r>(
        &'r self,
        pipeline: &'r Pipeline,
        asked: Asked<Q>,
    ) -> BoxFuture<'r, Result<Q::Reply>>;
}

/// Decodes one message and runs it through the pipeline.
pub(super) trait RunMessage: Send + Sync {
    fn run<'r>(
        &'r self,
        pipeline: &'r Pipeline,
        incoming: Incoming<'r>,
    ) -> BoxFuture<'r, Result<CommitOutcome>>;
}

/// The handler of one message, with its own retry policy if it has one.
pub(super) struct MessageEntry {
    pub(super) runner: Box<dyn RunMessage>,
    pub(super) retry: Option<RetryPolicy>,
}

impl Registry {
    /// Adds a handler; false when its type has one already.
    pub(crate) fn add_command<C: Command>(&mut self, handler: impl CommandHandler<C>) -> bool {
        let runner: Box<dyn RunCommand<C>> = Box::new(Handling(handler));
        self.commands.insert::<C>(C::NAME, Box::new(runner))
    }

    /// Adds a handler; false when its type has one already.
    pub(crate) fn add_query<Q: Query>(&mut self, handler: impl QueryHandler<Q>) -> bool {
        let runner: Box<dyn RunQuery<Q>> = Box::new(Handling(handler));
        self.queries.insert::<Q>(Q::NAME, Box::new(runner))
    }

    /// Adds a handler; false when its name has one already.
    pub(crate) fn add_message<M: Message + DeserializeOwned>(
        &mut self,
        handler: impl MessageHandler<M>,
        retry: Option<RetryPolicy>,
    ) -> bool {
        let runner = Box::new(HandlingMessage { handler, of: PhantomData::<fn(M)> });
        self.messages.insert(M::NAME, MessageEntry { runner, retry }).is_none()
    }

    /// Runs the command through the pipeline; `None` when nothing handles it.
    pub(super) fn command<'r, C: Command>(
        &'r self,
        pipeline: &'r Pipeline,
        sent: Sent<C>,
    ) -> Option<BoxFuture<'r, Result<C::Reply>>> {
        let runner = self.commands.get::<C, Box<dyn RunCommand<C>>>()?;
        Some(runner.run(pipeline, sent))
    }

    /// Runs the query through the pipeline; `None` when nothing handles it.
    pub(super) fn query<'r, Q: Query>(
        &'r self,
        pipeline: &'r Pipeline,
        asked: Asked<Q>,
    ) -> Option<BoxFuture<'r, Result<Q::Reply>>> {
        let runner = self.queries.get::<Q, Box<dyn RunQuery<Q>>>()?;
        Some(runner.run(pipeline, asked))
    }

    pub(super) fn message(&self, name: &str) -> Option<&MessageEntry> {
        self.messages.get(name)
    }

    /// Does not want messages of this name.
    pub(crate) fn ignore(&mut self, name: &'static str) {
        self.ignored.insert(name);
    }

    pub(crate) const fn ignored(&self) -> &BTreeSet<&'static str> {
        &self.ignored
    }

    pub(crate) fn handled_and_ignored(&self) -> impl Iterator<Item = &'static str> {
        self.ignored.iter().copied().filter(|name| self.messages.contains_key(name))
    }

    pub(super) fn command_types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.commands.types()
    }

    pub(super) fn query_types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.queries.types()
    }
}

/// Runners by the type of their message. Each value is a `Box<dyn Run…<M>>` of its key's `M`.
#[derive(Default)]
struct ByType(HashMap<TypeId, TypeEntry, BuildHasherDefault<TypeIdHasher>>);

struct TypeEntry {
    name: &'static str,
    runner: Box<dyn Any + Send + Sync>,
}

impl ByType {
    fn insert<M: 'static>(
        &mut self,
        name: &'static str,
        runner: Box<dyn Any + Send + Sync>,
    ) -> bool {
        let entry = TypeEntry { name, runner };
        self.0.insert(TypeId::of::<M>(), entry).is_none()
    }

    fn get<M: 'static, R: 'static>(&self) -> Option<&R> {
        self.0.get(&TypeId::of::<M>())?.runner.downcast_ref()
    }

    fn types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.0.iter().map(|(id, entry)| (*id, entry.name))
    }
}

/// Type ids are hashes already: their own 64 bits are the hash.
#[derive(Default)]
struct TypeIdHasher(u64);

impl Hasher for TypeIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    /// Type ids do not use it today; it is right for any bytes.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// Makes the future in its box: one that is made first is copied into the box, and the future of a
/// whole call is large.
fn boxed<'r, F: Future + Send + 'r>(call: impl FnOnce() -> F) -> BoxFuture<'r, F::Output> {
    let future: Box<F> = Box::write(Box::new_uninit(), call());
    Box::into_pin(future)
}

struct Handling<H>(H);

impl<C: Command, H: CommandHandler<C>> RunCommand<C> for Handling<H> {
    fn run<'r>(&'r self, pipeline: &'r Pipeline, sent: Sent<C>) -> BoxFuture<'r, Result<C::Reply>> {
        boxed(|| pipeline.command(&self.0, sent))
    }
}

impl<Q: Query, H: QueryHandler<Q>> RunQuery<Q> for Handling<H> {
    fn run<'r>(
        &'r self,
        pipeline: &'r Pipeline,
        asked: Asked<Q>,
    ) -> BoxFuture<'r, Result<Q::Reply>> {
        boxed(|| pipeline.query(&self.0, asked))
    }
}

struct HandlingMessage<M, H> {
    handler: H,
    of: PhantomData<fn(M)>,
}

impl<M: Message + DeserializeOwned, H: MessageHandler<M>> RunMessage for HandlingMessage<M, H> {
    fn run<'r>(
        &'r self,
        pipeline: &'r Pipeline,
        incoming: Incoming<'r>,
    ) -> BoxFuture<'r, Result<CommitOutcome>> {
        boxed(|| pipeline.message::<M>(&self.handler, incoming))
    }
}
