//! A context and the number of its partitions, as a mark on the broker holds it.

use mamey_core::Error;
use mamey_core::message::ContextName;

/// A context, and the number of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMark {
    pub(super) context: ContextName,
    pub(super) partitions: u16,
    /// The number before, which this one replaces.
    pub(super) former: Option<u16>,
    /// The exchange of the context's dead letters.
    pub(super) dead_letters: String,
}

impl PartitionMark {
    /// The queue that marks the number.
    pub(super) fn queue(&self) -> String {
        format!("{}.partitions", self.context)
    }

    /// The broker has this number, which is not the former one.
    pub(super) fn differs(&self, theirs: u16) -> Error {
        let (context, ours, queue) = (&self.context, self.partitions, self.queue());
        Error::misconfigured(format!(
            "context `{context}` has another number of partitions on the broker: ours is {ours}, the \
             broker's is {theirs}. Keys would change their queue and lose their order. Instances that \
             share a durable store agree on it, and change it when all are set to another number; \
             without one, set `MAMEY_PARTITIONS` to {theirs}, or drain the context's queues and delete \
             them and `{queue}` first"
        ))
    }
}
