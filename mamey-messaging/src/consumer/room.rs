//! Room for the payloads of messages that are taken and not settled, in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for so many bytes of payloads.
#[derive(Clone)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    bytes_max: u32,
}

/// The room of one message, free again once it is dropped.
pub(super) type Occupied = Option<OwnedSemaphorePermit>;

impl Room {
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Waits until there is room for a payload of this many bytes; one that is larger than the whole
    /// room waits until it is empty.
    pub(super) async fn occupy(&self, bytes: usize) -> Occupied {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // It is never closed, so there is always a permit.
        Arc::clone(&self.free).acquire_many_owned(bytes.min(self.bytes_max)).await.ok()
    }
}
