//! What enters the pipeline, and what a command and a message each add to a unit of work.

use mamey_core::context::Cause;
use mamey_core::inbound::{Custody, Incoming};
use mamey_core::message::Metadata;
use mamey_core::store::{CommitOutcome, Origin, Outcome, Receipt, UnitOfWork};
use mamey_core::{Command, Context, Error, Message, Result};
use serde::de::DeserializeOwned;

use super::decode::decode_for_handler;
use super::idempotency_key::ScopedKey;
use crate::handler::{CommandHandler, MessageHandler};

/// A command as its caller sent it.
pub(crate) struct Sent<C: Command> {
    pub(crate) command: C,
    pub(crate) cause: Cause,
    pub(crate) key: Option<ScopedKey<C::Reply>>,
    /// The metadata of its envelope, if another context requested it.
    pub(crate) metadata: Option<Box<Metadata>>,
}

/// A query as its caller asked it.
pub(crate) struct Asked<Q> {
    pub(crate) query: Q,
    pub(crate) cause: Cause,
    /// The metadata of its envelope, if another context requested it.
    pub(crate) metadata: Option<Box<Metadata>>,
}

/// What a handler replied, and how its unit was committed; `None` for a unit without content.
pub(super) type Done<R> = (R, Option<CommitOutcome>);

/// A call whose handler may write, over all its runs.
pub(super) trait Work: Send + Sync {
    type Message: Send;
    type Reply: Send;

    /// The message for the next run. No run follows the `last`.
    fn message(&mut self, last: bool) -> Result<Self::Message>;

    fn handle(
        &self,
        message: Self::Message,
        cx: &Context,
    ) -> impl Future<Output = Result<Self::Reply>> + Send;

    /// Whether something commits with the handler's effect.
    fn seals(&self) -> bool;

    /// Where the message is stored that the call is for, if it is stored.
    fn custody(&self) -> Option<&Custody>;

    /// Adds to the unit what commits with the handler's effect. `origin` is where the message is
    /// stored now, if it is.
    fn seal(
        &self,
        reply: &Self::Reply,
        origin: Option<Origin>,
        unit: &mut UnitOfWork,
    ) -> Result<()>;
}

/// The work of a command: its reply is saved if it has an idempotency key.
pub(super) struct CommandWork<'r, C: Command, H> {
    pub(super) handler: &'r H,
    pub(super) command: Option<C>,
    pub(super) key: Option<&'r ScopedKey<C::Reply>>,
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

    fn seals(&self) -> bool {
        self.key.is_some()
    }

    fn custody(&self) -> Option<&Custody> {
        None
    }

    fn seal(&self, reply: &C::Reply, _: Option<Origin>, unit: &mut UnitOfWork) -> Result<()> {
        if let Some(key) = self.key {
            unit.remember(key.reply_to_save(reply)?)?;
        }
        Ok(())
    }
}

/// The work of a message: its receipt commits with what its handler did.
pub(super) struct MessageWork<'r, M, H> {
    pub(super) handler: &'r H,
    /// The message for the first run; later runs decode it again.
    pub(super) decoded: Option<M>,
    pub(super) incoming: Incoming<'r>,
}

impl<M, H> Work for MessageWork<'_, M, H>
where
    M: Message + DeserializeOwned,
    H: MessageHandler<M>,
{
    type Message = M;
    type Reply = ();

    fn message(&mut self, _last: bool) -> Result<M> {
        self.decoded.take().map_or_else(|| decode_for_handler(self.incoming.envelope), Ok)
    }

    fn handle(&self, message: M, cx: &Context) -> impl Future<Output = Result<()>> + Send {
        self.handler.handle(message, cx)
    }

    fn seals(&self) -> bool {
        true
    }

    fn custody(&self) -> Option<&Custody> {
        Some(self.incoming.custody)
    }

    fn seal(&self, (): &(), origin: Option<Origin>, unit: &mut UnitOfWork) -> Result<()> {
        let Incoming { envelope, identity, .. } = self.incoming;
        let receipt = |origin| Receipt::of(identity, envelope.clone(), origin, Outcome::Handled);
        unit.receipt = origin.map(receipt);
        Ok(())
    }
}
