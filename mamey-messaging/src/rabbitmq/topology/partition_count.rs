//! Marks how many partitions a context has: by a queue without messages, whose argument the broker
//! compares.

use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use mamey_core::Result;

use super::declare::table;
use super::drift::{Drift, PRECONDITION_FAILED, not_declared};
use super::partition_mark::PartitionMark;
use super::plan::PARTITIONS_ARGUMENT;
use crate::rabbitmq::error::{failed, reply_code, short};

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// It shows this number.
    Done,
    /// It shows the former one, and is to be removed.
    Former,
}

impl PartitionMark {
    /// Marks the context with its number.
    ///
    /// Unless it is done, the broker has closed the channel.
    ///
    /// # Errors
    /// `Misconfigured` when the broker has another number that is not the former one.
    pub(crate) async fn make(&self, channel: &Channel) -> Result<Marked> {
        let (name, options) = (self.queue(), QueueDeclareOptions::durable());
        let declared = channel.queue_declare(short(&name)?, options, table(&self.arguments()));
        let Err(cause) = declared.await else { return Ok(Marked::Done) };
        match number_of(&cause) {
            Some(theirs) if self.former == Some(theirs) => Ok(Marked::Former),
            Some(theirs) if theirs != self.partitions => Err(self.differs(theirs)),
            _ => Err(not_declared(&format!("queue `{name}`"), cause)),
        }
    }

    /// Removes the mark, so that it can be made with another number.
    pub(crate) async fn remove(&self, channel: &Channel) -> Result<()> {
        let name = self.queue();
        let deleted = channel.queue_delete(short(&name)?, QueueDeleteOptions::default()).await;
        deleted.map(drop).map_err(|cause| failed(&format!("deleting queue `{name}`"), cause))
    }
}

/// The number of the mark that a declaration found.
fn number_of(cause: &lapin::Error) -> Option<u16> {
    if reply_code(cause) != Some(PRECONDITION_FAILED) {
        return None;
    }
    let text = cause.to_string();
    let drift = Drift::read(&text).filter(|drift| drift.field == PARTITIONS_ARGUMENT)?;
    drift.theirs.trim_matches('\'').parse().ok()
}
