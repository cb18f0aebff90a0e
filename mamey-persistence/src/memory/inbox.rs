//! Remembers which messages were received and which replies were given.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::store::{InboxStore, SavedReply};

use super::MemoryStore;

#[derive(Default)]
pub(super) struct Inbox {
    received: HashMap<MessageId, Timestamp>,
    replies: HashMap<(String, String), (Bytes, Timestamp)>,
}

#[async_trait]
impl InboxStore for MemoryStore {
    async fn was_received(&self, id: MessageId) -> Result<bool> {
        Ok(self.state()?.inbox.was_received(id))
    }

    async fn received_count(&self) -> Result<u64> {
        Ok(self.state()?.inbox.received.len() as u64)
    }

    async fn saved_reply(&self, command: &str, key: &str) -> Result<Option<Bytes>> {
        Ok(self.state()?.inbox.reply(command, key))
    }

    async fn expire_inbox(&self, before: Timestamp) -> Result<u64> {
        let mut state = self.state()?;
        let state = &mut *state;
        // A message that still waits here must stay known, however old it is.
        let waits = |id| state.parking.holds(id) || state.parking.is_dead(id);
        Ok(state.inbox.expire(before, &waits))
    }
}

impl Inbox {
    pub(super) fn was_received(&self, id: MessageId) -> bool {
        self.received.contains_key(&id)
    }

    pub(super) fn receive(&mut self, id: MessageId, now: Timestamp) {
        self.received.insert(id, now);
    }

    pub(super) fn reply(&self, command: &str, key: &str) -> Option<Bytes> {
        let name = (command.to_owned(), key.to_owned());
        self.replies.get(&name).map(|(body, _)| body.clone())
    }

    pub(super) fn save_reply(&mut self, reply: SavedReply, now: Timestamp) {
        let name = (reply.command.to_owned(), reply.key);
        self.replies.insert(name, (reply.body, now));
    }

    fn expire(&mut self, before: Timestamp, waits: &dyn Fn(MessageId) -> bool) -> u64 {
        let entries = self.received.len() + self.replies.len();
        self.received.retain(|id, received| *received >= before || waits(*id));
        self.replies.retain(|_, (_, saved)| *saved >= before);
        (entries - self.received.len() - self.replies.len()) as u64
    }
}
