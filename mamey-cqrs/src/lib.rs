//! Bounded contexts, their handlers, and the pipeline that every call goes through.
//!
//! Services depend on the crate `mamey`, which re-exports all of this.
//!
//! A [`BoundedContext`] lists what one part of the domain handles and publishes. Opened on a store
//! it becomes a [`ContextRuntime`], which accepts the commands and queries of its own process and,
//! as an [`Inbound`](mamey_core::inbound::Inbound), the messages that a consumer brings.
//!
//! | Module | What it holds |
//! |---|---|
//! | `bounded_context` | the declaration of a context, and what it needs of stores and transports |
//! | `handler` | the three handler traits, for structs and for plain async functions |
//! | `pipeline` | the fixed order of every call, each step in a file of its own |
//! | `runtime` | finds the handlers, sends commands, asks queries, answers other contexts' requests |
//! | `validation` | checks a message with garde |
//! | `testing` | given, when, then over one bounded context |
//!
//! | Feature | What it adds |
//! |---|---|
//! | `validation` | `validation::check`, and garde itself as `garde` |
//! | `testing` | the module `testing` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bounded_context;
mod handler;
mod pipeline;
mod runtime;

#[cfg(feature = "testing")]
pub mod testing;

pub use bounded_context::{
    BoundedContext, CONFLICT_RETRIES_DEFAULT, CONFLICT_RETRIES_MAX, ContextSettings,
    HANDLER_TIMEOUT_DEFAULT, RetrySettings,
};
pub use handler::{CommandHandler, HandlerFn, MessageHandler, QueryHandler};
pub use pipeline::idempotency_key::{
    IDEMPOTENCY_KEY_BYTES_MAX, IdempotentCommand, RememberedReply,
};
pub use pipeline::layer::{Invocation, InvocationKind, Layer, Next};
pub use runtime::request::{CommandRequest, QueryRequest};
pub use runtime::serving::Serves;
pub use runtime::unhandled::Unhandled;
pub use runtime::{ContextRuntime, MessageCounts, NAMES_COUNTED_MAX, Resources};

#[cfg(feature = "validation")]
pub use garde;
#[cfg(feature = "validation")]
pub use pipeline::validation;
