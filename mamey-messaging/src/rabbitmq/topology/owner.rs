//! The mark of which store owns a context: a queue without messages, whose argument the broker
//! compares.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use mamey_core::{Error, Result};

use super::claim::{Claim, owner_queue};
use super::declare::table;
use super::drift::{Drift, not_declared};
use super::plan::{Argument, OWNER_ARGUMENT};
use crate::rabbitmq::error::{NOT_FOUND, PRECONDITION_FAILED, reply_code, short};

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The context is this store's, or nobody's and this store does not last.
    Granted,
    /// The mark has another text: [`Claim::read`] tells which.
    Marked,
}

impl Claim {
    /// Marks the context as this store's. One that does not outlive the process leaves no mark.
    ///
    /// Unless the claim is granted, the broker has closed the channel.
    pub(crate) async fn make(&self, channel: &Channel) -> Result<Claimed> {
        let name = owner_queue(&self.context);
        let options =
            QueueDeclareOptions { passive: !self.owner.durable, ..QueueDeclareOptions::durable() };
        let arguments = table(&self.arguments(self.text()));
        let declared = channel.queue_declare(short(&name)?, options, arguments).await;
        match declared {
            Ok(_) if self.owner.durable => Ok(Claimed::Granted),
            Ok(_) => Ok(Claimed::Marked),
            Err(cause) if !self.owner.durable && reply_code(&cause) == Some(NOT_FOUND) => {
                Ok(Claimed::Granted)
            }
            Err(cause) if differs(&cause, OWNER_ARGUMENT) => Ok(Claimed::Marked),
            Err(cause) => Err(not_declared(&format!("queue `{name}`"), cause)),
        }
    }

    /// Who has marked the context. The broker tells when it is asked for another owner, and best if
    /// the name of that one is short.
    ///
    /// The broker then closes the channel.
    pub(crate) async fn read(&self, channel: &Channel) -> Result<String> {
        let name = owner_queue(&self.context);
        let mut arguments = self.arguments("?".to_owned());
        // If the queue was deleted meanwhile, this keeps it from being made.
        arguments.push(("x-queue-leader-locator", Argument::Text("none".to_owned())));
        let options = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(short(&name)?, options, table(&arguments)).await;
        match declared {
            Err(cause) if differs(&cause, OWNER_ARGUMENT) => {
                let text = cause.to_string();
                let theirs = Drift::read(&text).map(|drift| drift.theirs.trim_matches('\''));
                Ok(theirs.unwrap_or_default().to_owned())
            }
            _ => Err(Error::unavailable(format!(
                "queue `{name}`, which marks the owner of the context, is being changed; try again"
            ))),
        }
    }
}

/// Whether a declaration was refused because of this argument.
fn differs(cause: &lapin::Error, argument: &str) -> bool {
    let text = cause.to_string();
    reply_code(cause) == Some(PRECONDITION_FAILED)
        && text.contains(&format!("inequivalent arg '{argument}'"))
}
