//! Where messages go on the broker and come from: what is declared there, or found as others made it.

mod claim;
mod declare;
mod drift;
mod layout;
mod own;
mod owner;
mod partition_count;
mod partition_mark;
mod plan;
mod predefined;

pub use plan::RabbitPlan;
pub use predefined::RabbitPredefined;

pub(super) use claim::{Claim, owner_queue};
pub(super) use drift::not_declared;
pub(super) use layout::Layout;
pub(super) use own::{context_of_requests, requests_queue};
pub(super) use owner::Claimed;
pub(super) use partition_count::Marked;
pub(super) use partition_mark::PartitionMark;
