//! What a command and a message each bring to the pipeline, and what they take from it.

use std::pin::pin;

use mamey_core::context::Cause;
use mamey_core::inbound::Incoming;
use mamey_core::message::{CONTENT_TYPE_JSON, Envelope, Metadata, is_json};
use mamey_core::store::{CommitOutcome, CommitToken, Outcome, Receipt, UnitOfWork};
use mamey_core::{Command, Context, Error, Message, Query, Result};
use serde::de::DeserializeOwned;

use crate::handler::{CommandHandler, MessageHandler, QueryHandler};
use crate::pipeline::Pipeline;
use crate::pipeline::idempotency::Idempotency;
use crate::pipeline::layer::{Invocation, InvocationKind};

/// A call whose handler may write, in all its runs.
pub(crate) trait Work: Send + Sync {
    type Message: Send;
    type Reply: Send;

    /// The message for the next run. No other follows when it is the `last`.
    fn message(&mut self, last: bool) -> Result<Self::Message>;

    fn handle(
        &self,
        message: Self::Message,
        cx: &Context,
    ) -> impl Future<Output = Result<Self::Reply>> + Send;

    /// Adds to the unit what commits with the handler's effect.
    fn seal(&self, reply: &Self::Reply, unit: &mut UnitOfWork) -> Result<()>;
}

/// A command as its caller sent it.
pub(crate) struct Sent<C: Command> {
    pub(crate) command: C,
    pub(crate) cause: Cause,
    pub(crate) idempotency: Option<Idempotency<C::Reply>>,
    /// Where it came from, if another context requested it.
    pub(crate) metadata: Option<Box<Metadata>>,
}

/// A query as its caller asked it.
pub(crate) struct Asked<Q> {
    pub(crate) query: Q,
    pub(crate) cause: Cause,
    /// Where it came from, if another context requested it.
    pub(crate) metadata: Option<Box<Metadata>>,
}

pub(crate) async fn command<C: Command>(
    pipeline: &Pipeline,
    handler: &impl CommandHandler<C>,
    sent: Sent<C>,
) -> Result<C::Reply> {
    let Sent { command, mut cause, idempotency, metadata } = sent;
    if let Some(idempotency) = &idempotency {
        idempotency.identify(C::NAME, &pipeline.scope.name, &mut cause);
    }
    let mut invocation = invocation::<C>(pipeline, InvocationKind::Command, &cause);
    invocation.metadata = metadata.as_deref();
    let core = pin!(async {
        command.validate()?;
        let work = CommandWork {
            handler,
            command: Some(command),
            idempotency: idempotency.as_ref(),
            cause: &cause,
        };
        match &idempotency {
            None => pipeline.run(work, &cause).await.map(|(reply, _)| reply),
            Some(idempotency) => once(pipeline, idempotency, work, &cause).await,
        }
    });
    pipeline.call(invocation, core).await
}

/// Replies what was replied before under the same key, or runs.
///
/// A rival with the same key may win while this one runs. Then the commit is a duplicate, or the
/// handler fails because it meets the rival's effect: the rival's reply is right in both cases.
async fn once<C, H>(
    pipeline: &Pipeline,
    idempotency: &Idempotency<C::Reply>,
    work: CommandWork<'_, C, H>,
    cause: &Cause,
) -> Result<C::Reply>
where
    C: Command,
    H: CommandHandler<C>,
{
    let store = &*pipeline.scope.store;
    let saved = || idempotency.saved_reply(store, C::NAME, cause);
    if let Some(reply) = saved().await? {
        return Ok(reply);
    }
    match pipeline.run(work, cause).await {
        Ok((_, Some(CommitOutcome::Duplicate))) => saved().await?.ok_or_else(forgotten),
        Ok((reply, _)) => Ok(reply),
        Err(error) => saved().await.ok().flatten().ok_or(error),
    }
}

fn forgotten() -> Error {
    Error::conflict("the reply under this idempotency key was forgotten just now; send it again")
}

struct CommandWork<'r, C: Command, H> {
    handler: &'r H,
    command: Option<C>,
    idempotency: Option<&'r Idempotency<C::Reply>>,
    cause: &'r Cause,
}

impl<C: Command, H: CommandHandler<C>> Work for CommandWork<'_, C, H> {
    type Message = C;
    type Reply = C::Reply;

    fn message(&mut self, last: bool) -> Result<C> {
        let command = if last { self.command.take() } else { self.command.clone() };
        command.ok_or_else(|| Error::cancelled("the command has had its last run"))
    }

    fn handle(&self, command: C, cx: &Context) -> impl Future<Output = Result<C::Reply>> + Send {
        self.handler.handle(command, cx)
    }

    fn seal(&self, reply: &C::Reply, unit: &mut UnitOfWork) -> Result<()> {
        if let Some(idempotency) = self.idempotency {
            unit.reply = Some(idempotency.remember(C::NAME, self.cause, reply)?);
        }
        Ok(())
    }
}

pub(crate) async fn query<Q: Query>(
    pipeline: &Pipeline,
    handler: &impl QueryHandler<Q>,
    asked: Asked<Q>,
) -> Result<Q::Reply> {
    let Asked { query, cause, metadata } = asked;
    let mut invocation = invocation::<Q>(pipeline, InvocationKind::Query, &cause);
    invocation.metadata = metadata.as_deref();
    let core = pin!(pipeline.answer(handler, query, &cause));
    pipeline.call(invocation, core).await
}

pub(crate) async fn message<M: Message + DeserializeOwned>(
    pipeline: &Pipeline,
    handler: &impl MessageHandler<M>,
    incoming: Incoming<'_>,
) -> Result<CommitOutcome> {
    let metadata = &incoming.envelope.metadata;
    let cause = Cause::from(metadata);
    let mut invocation = invocation::<M>(pipeline, InvocationKind::Message, &cause);
    invocation.metadata = Some(metadata);
    invocation.attempt = incoming.attempt;
    let core = pin!(async {
        let message = decode::<M>(incoming.envelope)?;
        message.validate()?;
        let decoded = Some(message);
        let work = MessageWork { handler, decoded, incoming };
        let (_, outcome) = pipeline.run(work, &cause).await?;
        // A message's unit holds its receipt, so it is never without content.
        Ok(outcome.unwrap_or(CommitOutcome::Committed(CommitToken(0))))
    });
    pipeline.call(invocation, core).await
}

struct MessageWork<'r, M, H> {
    handler: &'r H,
    decoded: Option<M>,
    incoming: Incoming<'r>,
}

impl<M, H> Work for MessageWork<'_, M, H>
where
    M: Message + DeserializeOwned,
    H: MessageHandler<M>,
{
    type Message = M;
    type Reply = ();

    fn message(&mut self, _last: bool) -> Result<M> {
        self.decoded.take().map_or_else(|| decode(self.incoming.envelope), Ok)
    }

    fn handle(&self, message: M, cx: &Context) -> impl Future<Output = Result<()>> + Send {
        self.handler.handle(message, cx)
    }

    fn seal(&self, (): &(), unit: &mut UnitOfWork) -> Result<()> {
        unit.receipt = Some(Receipt {
            envelope: self.incoming.envelope.clone(),
            origin: self.incoming.origin,
            outcome: Outcome::Handled,
        });
        Ok(())
    }
}

/// Reads a message from its payload, upcasting an older version.
pub(crate) fn decode<M: Message + DeserializeOwned>(envelope: &Envelope) -> Result<M> {
    let Metadata { content_type, version, .. } = &envelope.metadata;
    if !is_json(content_type) {
        return Err(Error::unsupported(format!(
            "the payload is `{content_type:.64}`; only `{CONTENT_TYPE_JSON}` is read"
        )));
    }
    M::decode(*version, &envelope.payload)
}

fn invocation<'a, M: Message>(
    pipeline: &'a Pipeline,
    kind: InvocationKind,
    cause: &'a Cause,
) -> Invocation<'a> {
    Invocation {
        kind,
        name: M::NAME,
        context: &pipeline.scope.name,
        cause,
        metadata: None,
        attempt: 1,
    }
}
