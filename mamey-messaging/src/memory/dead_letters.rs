//! Shows the messages that a context could neither handle nor store, within limits: they stay in
//! their senders' outboxes.

use std::collections::VecDeque;

use mamey_core::id::MessageId;
use mamey_core::message::{ContextName, Envelope};

/// How many rejected messages are kept; the oldest are dropped first.
pub const REJECTED_MESSAGES_MAX: usize = 1000;

/// How many bytes of payload the rejected messages may hold together: 64 MiB.
pub const REJECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message that a context could neither handle nor keep in its store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedMessage {
    /// The context that rejected it.
    pub context: ContextName,
    /// The message as it was published.
    pub envelope: Envelope,
    /// Why.
    pub reason: String,
}

#[derive(Default)]
pub(super) struct DeadLetters {
    messages: VecDeque<RejectedMessage>,
    bytes: usize,
}

impl DeadLetters {
    /// Keeps a message, in the place of the same one that was rejected before.
    pub(super) fn push(&mut self, message: RejectedMessage) {
        self.remove(&message.context, message.envelope.metadata.id);
        self.bytes += message.envelope.payload.len();
        self.messages.push_back(message);
        while self.messages.len() > REJECTED_MESSAGES_MAX || self.bytes > REJECTED_BYTES_MAX {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= oldest.envelope.payload.len();
        }
    }

    /// Forgets a message that its context has taken since.
    pub(super) fn remove(&mut self, context: &ContextName, id: MessageId) {
        let is_it = |it: &RejectedMessage| it.context == *context && it.envelope.metadata.id == id;
        if let Some(at) = self.messages.iter().position(is_it)
            && let Some(removed) = self.messages.remove(at)
        {
            self.bytes -= removed.envelope.payload.len();
        }
    }

    pub(super) fn to_vec(&self) -> Vec<RejectedMessage> {
        self.messages.iter().cloned().collect()
    }
}
