//! An idempotency key, and what a store keeps under it: the reply, and what was asked.

use std::fmt;

use bytes::Bytes;
use mamey_core::context::Cause;
use mamey_core::id::MessageId;
use mamey_core::json::to_json;
use mamey_core::message::ContextName;
use mamey_core::store::{Fingerprint, KnownReply, SavedReply, Store};
use mamey_core::{Command, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Separates the tenant from the key. No key contains it, so tenants cannot read each other's
/// replies.
const SEPARATOR: char = '\u{1f}';

/// A command that can be sent with an idempotency key, because two requests can be compared. Every
/// command with serde's `Serialize` is.
#[diagnostic::on_unimplemented(
    message = "the command `{Self}` cannot be sent with an idempotency key: requests under one key are compared, which takes its fields",
    label = "`serde::Serialize` is missing",
    note = "derive `serde::Serialize` on `{Self}`"
)]
pub trait IdempotentCommand: Command + Serialize {}

#[diagnostic::do_not_recommend]
impl<C: Command + Serialize> IdempotentCommand for C {}

/// A reply that can be remembered under an idempotency key. Every type with serde's `Serialize` and
/// `Deserialize` is.
#[diagnostic::on_unimplemented(
    message = "the reply `{Self}` cannot be remembered under an idempotency key",
    label = "`serde::Serialize` or `serde::Deserialize` is missing on the reply `{Self}`",
    note = "derive `serde::Serialize` and `serde::Deserialize` on `{Self}`"
)]
pub trait RememberedReply: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<R: Serialize + DeserializeOwned> RememberedReply for R {}

/// The key that a caller gave to a command.
pub(crate) struct IdempotencyKey<R> {
    text: String,
    fingerprint: Fingerprint,
    codec: ReplyCodec<R>,
}

/// A key within its command and its tenant.
pub(crate) struct ScopedKey<R> {
    command: &'static str,
    text: String,
    fingerprint: Fingerprint,
    codec: ReplyCodec<R>,
}

/// Only a command with a key needs a reply that can be serialized, so these functions are chosen
/// where the key is given.
struct ReplyCodec<R> {
    write: fn(&R) -> Result<Bytes>,
    read: fn(&[u8]) -> serde_json::Result<R>,
}

impl<R> IdempotencyKey<R> {
    pub(crate) fn new<C>(text: String, command: &C) -> Result<Self>
    where
        C: IdempotentCommand<Reply = R>,
        R: RememberedReply,
    {
        check(&text)?;
        let fingerprint = Fingerprint::of(command)?;
        let codec = ReplyCodec { write: to_json::<R>, read: |body| serde_json::from_slice(body) };
        Ok(Self { text, fingerprint, codec })
    }

    /// The key of one call. The call's message id follows from it, unless the cause has one, so
    /// that an external system that deduplicates by this id recognizes a repeated call too.
    pub(crate) fn scoped(
        self,
        command: &'static str,
        context: &ContextName,
        cause: &mut Cause,
    ) -> ScopedKey<R> {
        let text = match &cause.tenant {
            Some(tenant) => format!("{tenant}{SEPARATOR}{}", self.text),
            None => self.text,
        };
        let id = || MessageId::from_foreign(&format!("{context}/{command}"), &text);
        cause.message_id = Some(cause.message_id.unwrap_or_else(id));
        ScopedKey { command, text, fingerprint: self.fingerprint, codec: self.codec }
    }
}

impl<R> ScopedKey<R> {
    /// What was replied before to the same request under this key.
    pub(super) async fn saved_reply(&self, store: &dyn Store) -> Result<Option<R>> {
        let known = store.saved_reply(self.command, &self.text).await?;
        known.map(|known| self.read(&known)).transpose()
    }

    fn read(&self, known: &KnownReply) -> Result<R> {
        if !known.fingerprint.may_be(self.fingerprint) {
            return Err(reused(self.command));
        }
        (self.codec.read)(&known.body).map_err(unreadable)
    }

    /// The reply, for the unit of work that commits the command's effect.
    pub(super) fn reply_to_save(&self, reply: &R) -> Result<SavedReply> {
        let body = (self.codec.write)(reply).map_err(unwritable)?;
        Ok(SavedReply::new(self.command, self.text.clone(), self.fingerprint, body))
    }
}

fn check(key: &str) -> Result<()> {
    let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    if fits && !key.contains(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes and no control characters; \
         this one has {} bytes",
        key.len()
    )))
}

fn reused(command: &str) -> Error {
    Error::idempotency_key_reused(format!(
        "the idempotency key was used before, for another `{command}`; nothing was done: use a new \
         key for another request, and the same fields to repeat one"
    ))
}

fn unwritable(cause: Error) -> Error {
    Error::invalid(format!("the reply cannot be remembered: {cause}")).with_source(cause)
}

fn unreadable(cause: serde_json::Error) -> Error {
    Error::invalid(format!("the reply saved under this idempotency key has another shape: {cause}"))
        .with_source(cause)
}

impl<R> fmt::Debug for IdempotencyKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({})", self.text)
    }
}
