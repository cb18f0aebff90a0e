//! The ledger: books each move of an account, and publishes an event for it.

use std::time::Duration;

use mamey::{BoundedContext, Context, Event, MessageHandler, Result};
use serde::{Deserialize, Serialize};

use super::accounts::Moved;
use super::{Book, Shelf, Trials, book};

/// A move was booked.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "ledger.booked", key = account)]
pub(crate) struct Booked {
    pub(crate) account: String,
    /// Counted from 1 for each account, in the order of the ledger's commits.
    pub(crate) sequence: u64,
}

struct OnMoved(Trials);

impl MessageHandler<Moved> for OnMoved {
    async fn handle(&self, event: Moved, cx: &Context) -> Result<()> {
        self.0.applies(cx, &event.account, event.sequence);
        tokio::time::sleep(Duration::from_millis(event.think_ms)).await;
        self.0.fail_at_first(cx, event.failures)?;
        let booked = Shelf(cx).apply(event.account.clone(), event.sequence, event.amount).await?;
        cx.publish(&Booked { account: event.account, sequence: booked })
    }
}

pub(super) fn context(trials: &Trials) -> BoundedContext {
    BoundedContext::new("ledger")
        .aggregate::<Book>()
        .on(OnMoved(trials.clone()))
        .query(book::show)
        .publishes::<Booked>()
}
