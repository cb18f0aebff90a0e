//! Where messages go on the broker and come from: what is declared there, or found as others made it.

mod declare;
mod drift;
mod layout;
mod own;
mod plan;
mod predefined;

pub use plan::RabbitPlan;
pub use predefined::RabbitPredefined;

pub(super) use drift::not_declared;
pub(super) use layout::Layout;
pub(super) use own::{context_of_requests, requests_queue};
