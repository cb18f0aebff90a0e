//! Keeps the messages that a context could neither handle nor store, within limits.

use std::collections::VecDeque;

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
    pub(super) fn push(&mut self, message: RejectedMessage) {
        self.bytes += message.envelope.payload.len();
        self.messages.push_back(message);
        while self.messages.len() > REJECTED_MESSAGES_MAX || self.bytes > REJECTED_BYTES_MAX {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= oldest.envelope.payload.len();
        }
    }

    pub(super) fn to_vec(&self) -> Vec<RejectedMessage> {
        self.messages.iter().cloned().collect()
    }
}
