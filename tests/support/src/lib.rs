//! What tests need in order to talk to real servers: namespaces of their own, faults, skip or fail.
//!
//! | Item | What it is for |
//! |---|---|
//! | [`require!`], [`or_absent`] | skips or fails a test whose server is not there |
//! | [`postgres`], [`rabbitmq`], [`redis`], [`mongodb`] | a namespace that the test owns, one feature each |
//! | `Session` | does on a PostgreSQL what no store would, and looks at what a store has done |
//! | `OwnPostgres` | a server that the test owns, to kill, to pause and to fill |
//! | [`FaultProxy`] | stands before a server and delays, falls silent, cuts, resets, refuses |
//! | [`until`] | waits for what has to come |
//! | [`example`], [`terminate`], [`signal`] | programs that a test runs, and how they end |
//! | `StrayAcks` | stands before RabbitMQ and has it close channels |
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
mod program;
mod proxy;
mod report;
mod skip;
mod url;
mod wait;

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
mod mutation;
#[cfg(feature = "postgres")]
mod own_postgres;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "postgres")]
mod processes;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod servers;
#[cfg(feature = "postgres")]
mod session;
#[cfg(feature = "rabbitmq")]
mod stray_acks;

pub use error::{Error, Result};
pub use mamey_conformance::report as note;
#[cfg(feature = "postgres")]
pub use own_postgres::{OwnPostgres, Plan};
pub use program::{example, signal, target_folder, terminate};
pub use proxy::{Counts, Direction, FaultProxy, Mode};
#[cfg(feature = "postgres")]
pub use session::Session;
pub use skip::or_absent;
#[doc(hidden)]
pub use skip::{name_of, skip_or_fail};
#[cfg(feature = "rabbitmq")]
pub use stray_acks::{ChannelsThat, StrayAcks};
pub use wait::until;
