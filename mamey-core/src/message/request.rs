//! Requests: commands and queries that other contexts may send and await.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kinds::Message;

/// The header that carries the idempotency key of a requested command.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotencykey";

/// A command or a query that other contexts may send and await.
///
/// The derives of [`Command`](crate::Command) and [`Query`](crate::Query) implement it for a
/// message with an explicit name, because only such a name survives a renamed type. Both sides need
/// the same name, and shapes that read each other as JSON; they need not share a crate.
///
/// A change of the reply that old callers cannot read needs a new name for as long as there are old
/// callers; such a change of the request needs a new version.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another context: it has no name on the wire",
    note = "give it one, as `#[query(name = \"context.message-name\", reply = …)]` or `#[command(name = …)]`, and derive `serde::Serialize` and `serde::Deserialize` on it and on its reply"
)]
pub trait Request: Message + Serialize + DeserializeOwned {
    /// What the other context replies.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Whether it is handled as a command or as a query: [`ByCommand`] or [`ByQuery`].
    type Kind: RequestKind;
}

/// What a [`Request`] is handled as: one of [`ByCommand`] and [`ByQuery`], and nothing else.
pub trait RequestKind: sealed::Sealed + 'static {}

/// Says of a [`Request`] that it is a command.
#[derive(Clone, Copy, Debug)]
pub enum ByCommand {}

/// Says of a [`Request`] that it is a query.
#[derive(Clone, Copy, Debug)]
pub enum ByQuery {}

impl RequestKind for ByCommand {}

impl RequestKind for ByQuery {}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::ByCommand {}

    impl Sealed for super::ByQuery {}
}
