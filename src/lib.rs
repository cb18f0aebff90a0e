//! Everything that a service needs of Mamey, in one crate.
//!
#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | Module | What it holds |
//! |---|---|
//! | the root | what most services need: derives, [`Service`], [`BoundedContext`], [`Context`] |
//! | [`message`] | envelopes, metadata, codecs, the catalog |
//! | [`criteria`] | filter, sort and pages over indexed fields |
//! | [`domain`], [`context`] | aggregates; what a handler is given, repositories included |
//! | [`connection`] | URLs from files, credentials that change |
//! | [`store`], [`transport`], [`inbound`] | the ports, for operators' tools and writers of backends |
//! | [`persistence`], [`messaging`] | the backends of this build, with their options and counters |
//! | [`testing`] | given, when, then (feature `testing`) |
//!
//! The table of [features](#features) above says what each Cargo feature adds.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod service;

#[cfg(feature = "testing")]
pub mod testing;

pub use mamey_core::clock::Timestamp;
pub use mamey_core::criteria::{Criteria, IndexValue, Page};
pub use mamey_core::id::MessageId;
pub use mamey_core::private::uuid::Uuid;
pub use mamey_core::{
    Aggregate, Backoff, Command, Context, Error, ErrorKind, Event, Message, Query, ReadContext,
    Rejection, Repository, Request, Result, ResultExt, Retry, RetryPolicy, Versioned, async_trait,
    capabilities, clock, connection, context, criteria, domain, id, inbound, message, redact_url,
    store, transport,
};
pub use mamey_cqrs::{
    BoundedContext, CommandHandler, CommandRequest, ContextRuntime, ContextSettings,
    IdempotentCommand, Invocation, InvocationKind, Layer, MessageCounts, MessageHandler, Next,
    QueryHandler, QueryRequest, RememberedReply, Resources, RetrySettings, Serves, Unhandled,
};
pub use mamey_macros::{
    Aggregate, Command, Event, Id, IndexValue, Message, Query, Rejection, handler,
};
pub use service::{RunningService, Service, Settings, Totals};

pub use mamey_messaging as messaging;
pub use mamey_persistence as persistence;

#[cfg(feature = "validation")]
pub use mamey_cqrs::{garde, validation};

#[doc(hidden)]
pub use mamey_core::private;
