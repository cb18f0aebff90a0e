//! Lists, replays and discards what contexts of this process have rejected.

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::ContextName;
use mamey_core::transport::{
    RejectedId, RejectedMessage, RejectedMessages, RejectedTotals, check_rejected_page,
};

use super::broker::{Broker, State};

/// The rejected messages of one context, for operators.
pub(super) struct MemoryRejected {
    pub(super) broker: Arc<Broker>,
    pub(super) context: ContextName,
}

impl MemoryRejected {
    fn each(
        &self,
        ids: &[RejectedId],
        mut decide: impl FnMut(&mut State, RejectedId) -> Result<bool>,
    ) -> Result<u64> {
        check_rejected_page(ids.len())?;
        let mut state = self.broker.lock();
        state.ensure_open()?;
        let mut decided = 0;
        for id in ids {
            decided += u64::from(decide(&mut state, *id)?);
        }
        Ok(decided)
    }
}

#[async_trait]
impl RejectedMessages for MemoryRejected {
    async fn list(&self, after: Option<RejectedId>, limit: u32) -> Result<Vec<RejectedMessage>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        check_rejected_page(limit)?;
        let state = self.broker.lock();
        state.ensure_open()?;
        Ok(state.rejected.page(&self.context, after, limit))
    }

    async fn replay(&self, ids: &[RejectedId]) -> Result<u64> {
        self.each(ids, |state, id| {
            let Some((address, envelope)) = state.rejected.get(&self.context, id) else {
                return Ok(false);
            };
            // Its record may come from the outbox at the same time: the inbox absorbs one of them.
            state.enqueue_again(&address, envelope)?;
            Ok(state.rejected.remove(&self.context, id))
        })
    }

    async fn discard(&self, ids: &[RejectedId]) -> Result<u64> {
        self.each(ids, |state, id| Ok(state.rejected.discard(&self.context, id)))
    }

    async fn count(&self) -> Result<u64> {
        let state = self.broker.lock();
        state.ensure_open()?;
        Ok(state.rejected.count(&self.context) as u64)
    }

    fn totals(&self) -> RejectedTotals {
        self.broker.lock().rejected_totals(&self.context)
    }
}
