//! Remembers which messages were received and which replies were given.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::MessageIdentity;
use mamey_core::store::{InboxStore, KnownReply};

use super::store::MemoryStore;

#[async_trait]
impl InboxStore for MemoryStore {
    async fn was_received(&self, message: MessageIdentity) -> Result<bool> {
        Ok(self.state()?.inbox.was_received(message))
    }

    async fn received_count(&self) -> Result<u64> {
        Ok(self.state()?.inbox.received_count())
    }

    async fn saved_reply(&self, command: &str, key: &str) -> Result<Option<KnownReply>> {
        Ok(self.state()?.inbox.reply(command, key))
    }

    async fn expire_inbox(&self, window: Duration) -> Result<u64> {
        let before = self.shared.clock.now().minus(window);
        let mut state = self.state()?;
        let state = &mut *state;
        // A message that is still parked or a dead letter must stay known, however old it is.
        let waits = |message| state.parking.holds(message) || state.parking.is_dead(message);
        Ok(state.inbox.expire(before, &waits))
    }
}
