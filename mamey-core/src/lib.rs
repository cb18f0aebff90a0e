//! Vocabulary and ports of Mamey: no driver, no runtime.
//!
//! Services depend on the crate `mamey`, which re-exports all of this. Depend on `mamey-core` alone
//! to write a backend: a store implements the ports of [`store`], a transport those of
//! [`transport`]; the suites of `mamey-conformance` say whether it keeps their promises.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`message`] | messages, envelopes, codecs, the catalog |
//! | [`domain`] | aggregates and repositories |
//! | [`criteria`] | filter, sort and keyset pages over indexed fields |
//! | [`context`] | what a handler is given |
//! | [`store`] | ports of a store: documents, unit of work, outbox, inbox, parking, leases, subscriptions |
//! | [`transport`] | ports of a transport: publisher, subscriber, delivery, topology |
//! | [`connection`] | URLs and credentials of servers |
//! | [`inbound`] | the port between a consumer and the handlers |
//!
//! | Feature | What it adds |
//! |---|---|
//! | `failpoints` | moments at which the crash suite ends a process; never in production |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod capabilities;
pub mod clock;
pub mod connection;
pub mod context;
pub mod criteria;
pub mod domain;
#[doc(hidden)]
pub mod failpoint;
pub mod id;
pub mod inbound;
pub mod json;
pub mod message;
#[doc(hidden)]
pub mod private;
pub mod store;
pub mod transport;

mod backoff;
mod error;
mod log_throttle;
mod redact;
mod retry;

pub use async_trait::async_trait;
pub use backoff::Backoff;
pub use context::{Context, ReadContext, Repository};
pub use domain::{Aggregate, Versioned};
pub use error::{Error, ErrorKind, Rejection, Result, ResultExt, Retry};
pub use log_throttle::{LOG_THROTTLE_INTERVAL_DEFAULT, LogThrottle};
pub use message::{Command, Event, Message, Query, Request};
pub use redact::{query_may_hold_password, redact_url};
pub use retry::RetryPolicy;
