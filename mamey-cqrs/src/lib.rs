//! Bounded contexts, their handlers, and the pipeline every call goes through.
//!
//! A [`BoundedContext`] lists what one part of the domain handles and publishes. Opened on a store
//! it becomes a [`ContextRuntime`], which takes commands and queries of its own process and, as an
//! [`Inbound`](mamey_core::inbound::Inbound), the messages a consumer brings.
//!
//! | Module | What it holds |
//! |---|---|
//! | `bounded_context` | the declaration of a context, and what it says to stores and transports |
//! | `handler` | the three handler traits, for structs and for plain async functions |
//! | `pipeline` | the fixed order of every call; the one place where it is written |
//! | `layer` | the user's own steps in that order |
//! | `runtime`, `request` | sending commands and asking queries |
//! | `serving` | answering the requests of other contexts |
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
    BoundedContext, CONFLICT_RETRIES_DEFAULT, CONFLICT_RETRIES_MAX, HANDLER_TIMEOUT_DEFAULT,
};
pub use handler::{CommandHandler, HandlerFn, MessageHandler, QueryHandler};
pub use pipeline::idempotency::IDEMPOTENCY_KEY_BYTES_MAX;
pub use pipeline::layer::{Invocation, InvocationKind, Layer, Next};
pub use runtime::request::{CommandRequest, QueryRequest};
pub use runtime::serving::Serves;
pub use runtime::{ContextRuntime, Resources};

#[cfg(feature = "validation")]
pub use garde;
#[cfg(feature = "validation")]
pub use pipeline::validation;
