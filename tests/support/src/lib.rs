//! What tests need in order to talk to real servers: namespaces of their own, faults, skip or fail.
//!
//! | Item | What it is for |
//! |---|---|
//! | [`require!`], [`or_skip`] | skips or fails a test whose server is not there |
//! | [`postgres`], [`rabbitmq`], [`redis`], [`mongodb`] | a namespace that the test owns, one feature each |
//! | `OwnPostgres` | a server that the test owns, to kill, to pause and to fill |
//! | [`FaultProxy`] | stands before a server and delays, falls silent, cuts, resets, refuses |
//! | [`servers`] | pauses a server that `./dev servers` runs, or starts one for a test alone |
//!
//! ```no_run
//! # #[cfg(feature = "postgres")] {
//! use mamey_test_support::{FaultProxy, Mode, postgres, require};
//!
//! async fn a_commit_survives_a_reset() {
//!     let database = require!(postgres::database().await);
//!     let proxy = FaultProxy::start(database.url()).await.unwrap();
//!     let url = proxy.url_for(database.url()).unwrap();
//!     // … work through `url` …
//!     proxy.set(Mode::Reset).await.unwrap();
//! }
//! # }
//! ```
//!
//! The servers come from `./dev servers up`, their URLs from `./dev servers env`; `./dev test` does
//! both. Every namespace is dropped with its guard, after a panic too; what a killed run left is
//! dropped by the next run that asks for a namespace of the same server.

mod error;
mod own;
mod proxy;
mod report;
mod skip;
mod url;

#[cfg(any(feature = "postgres", feature = "rabbitmq", feature = "redis", feature = "mongodb"))]
mod cleanup;
#[cfg(any(feature = "postgres", feature = "rabbitmq", feature = "redis", feature = "mongodb"))]
mod name;
#[cfg(any(feature = "postgres", feature = "rabbitmq", feature = "redis", feature = "mongodb"))]
mod server;

#[cfg(feature = "rabbitmq")]
mod http;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "postgres")]
mod own_postgres;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod servers;

pub use error::{Error, Result};
#[cfg(feature = "postgres")]
pub use own_postgres::{OwnPostgres, Plan};
pub use proxy::{Counts, Direction, FaultProxy, Mode};
pub use report::note;
pub use skip::or_skip;
#[doc(hidden)]
pub use skip::{name_of, skip_or_fail};
