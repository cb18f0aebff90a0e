//! Which messages were received and which replies were given.

use std::collections::HashMap;

use mamey_core::clock::Timestamp;
use mamey_core::message::MessageIdentity;
use mamey_core::store::{KnownReply, SavedReply};

/// The inbox of one context.
#[derive(Default)]
pub(crate) struct Inbox {
    received: HashMap<MessageIdentity, Timestamp>,
    replies: HashMap<(String, String), (KnownReply, Timestamp)>,
}

impl Inbox {
    pub(crate) fn received_count(&self) -> u64 {
        self.received.len() as u64
    }

    pub(crate) fn was_received(&self, message: MessageIdentity) -> bool {
        self.received.contains_key(&message)
    }

    pub(crate) fn receive(&mut self, message: MessageIdentity, now: Timestamp) {
        self.received.insert(message, now);
    }

    pub(crate) fn reply(&self, command: &str, key: &str) -> Option<KnownReply> {
        let name = (command.to_owned(), key.to_owned());
        self.replies.get(&name).map(|(known, _)| known.clone())
    }

    pub(crate) fn save_reply(&mut self, reply: SavedReply, now: Timestamp) {
        let name = (reply.command.to_owned(), reply.key);
        let known = KnownReply::new(reply.fingerprint, reply.body);
        self.replies.insert(name, (known, now));
    }

    pub(crate) fn expire(
        &mut self,
        before: Timestamp,
        waits: &dyn Fn(MessageIdentity) -> bool,
    ) -> u64 {
        let entries = self.received.len() + self.replies.len();
        self.received.retain(|message, received| *received >= before || waits(*message));
        self.replies.retain(|_, (_, saved)| *saved >= before);
        (entries - self.received.len() - self.replies.len()) as u64
    }
}
