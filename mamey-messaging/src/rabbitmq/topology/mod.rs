//! Where messages go on the broker and come from: what is declared, or found as others made it.

mod declare;
mod plan;
mod predefined;

pub use plan::RabbitPlan;
pub use predefined::RabbitPredefined;

pub(super) use plan::{PARTITIONS_ARGUMENT, dead_letters, queue, routing_key};
