//! Idempotency keys: the same key returns the same reply, and the effect happens once.

use std::fmt;

use bytes::Bytes;
use mamey_core::context::Cause;
use mamey_core::id::MessageId;
use mamey_core::json::to_json;
use mamey_core::message::ContextName;
use mamey_core::store::{SavedReply, Store};
use mamey_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Separates the tenant from the key. No key holds it, so tenants cannot read each other's replies.
const SEPARATOR: char = '\u{1f}';

/// A caller's key, and how the reply is written and read. The reply has to be serializable only
/// here, so the functions are chosen when the key is given.
pub(crate) struct Idempotency<R> {
    key: String,
    write: fn(&R) -> Result<Bytes>,
    read: fn(&[u8]) -> serde_json::Result<R>,
}

impl<R> Idempotency<R> {
    pub(crate) fn new(key: String) -> Self
    where
        R: Serialize + DeserializeOwned,
    {
        Self { key, write: to_json::<R>, read: |body| serde_json::from_slice(body) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&self.key.len());
        if fits && !self.key.contains(char::is_control) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes and no control \
             characters; this one has {} bytes",
            self.key.len()
        )))
    }

    /// Gives the call a message id that follows from the key, so that a system outside that
    /// deduplicates by it recognizes the second call too.
    pub(crate) fn identify(&self, command: &str, context: &ContextName, cause: &mut Cause) {
        let new = || MessageId::from_foreign(&format!("{context}/{command}"), &self.scoped(cause));
        cause.message_id = Some(cause.message_id.unwrap_or_else(new));
    }

    pub(crate) async fn saved_reply(
        &self,
        store: &dyn Store,
        command: &str,
        cause: &Cause,
    ) -> Result<Option<R>> {
        let body = store.saved_reply(command, &self.scoped(cause)).await?;
        let read = |body: Bytes| (self.read)(&body).map_err(unreadable);
        body.map(read).transpose()
    }

    pub(crate) fn remember(
        &self,
        command: &'static str,
        cause: &Cause,
        reply: &R,
    ) -> Result<SavedReply> {
        let body = (self.write)(reply).map_err(|cause| {
            Error::invalid(format!("the reply cannot be remembered: {cause}")).with_source(cause)
        })?;
        Ok(SavedReply { command, key: self.scoped(cause), body })
    }

    fn scoped(&self, cause: &Cause) -> String {
        match &cause.tenant {
            Some(tenant) => format!("{tenant}{SEPARATOR}{}", self.key),
            None => self.key.clone(),
        }
    }
}

fn unreadable(cause: serde_json::Error) -> Error {
    Error::invalid(format!(
        "the reply remembered under this idempotency key is of another shape: {cause}"
    ))
    .with_source(cause)
}

impl<R> fmt::Debug for Idempotency<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idempotency({})", self.key)
    }
}
