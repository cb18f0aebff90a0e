//! What the macros expand to does what their documentation says.

mod aggregates;
mod facade;
mod handlers;
mod ids;
mod messages;
mod rejections;
