//! Dispatch, the pipeline's order and its guards, with handlers that need no store.

mod dispatch;
mod failures;
mod layers;
mod messages;
mod no_store;
mod registration;
