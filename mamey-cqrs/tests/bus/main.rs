//! Dispatch, the pipeline's order and its failures, with handlers that need no store.

#![allow(clippy::unwrap_used, reason = "tests may unwrap, their helpers too")]

mod dispatch;
mod failures;
mod layers;
mod messages;
mod no_store;
mod registration;
