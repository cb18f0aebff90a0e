//! What the macros expand to does what their documentation says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aggregates;
mod facade;
mod handlers;
mod ids;
mod messages;
mod rejections;
