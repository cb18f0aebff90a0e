//! The audit: reads the accounts and the ledger, and rejects each flagged transfer once.

use std::time::Duration;

use mamey::{
    Aggregate, BoundedContext, Context, Criteria, MessageHandler, Query, ReadContext, Rejection,
    Result,
};
use serde::{Deserialize, Serialize};

use super::accounts::{Flagged, Moved};
use super::ledger::Booked;
use super::{Book, Shelf, Trials, book};

/// How often a flagged transfer was inspected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Aggregate)]
#[aggregate(collection = "findings")]
pub(crate) struct Finding {
    #[aggregate(id)]
    pub(crate) transfer: String,
    pub(crate) times: u64,
}

/// All findings after the one with this id, a page at a time.
#[derive(Query, Serialize, Deserialize)]
#[query(name = "audit.show-findings", reply = Vec<Finding>)]
pub(crate) struct ShowFindings;

/// The code of the dead letters that are part of the workload.
pub(crate) const LOOK_AGAIN: &str = "audit.look-again";

#[derive(Debug, thiserror::Error, Rejection)]
#[error("a person has to look at this again")]
#[rejection(code = "audit.look-again")]
struct LookAgain;

struct OnMoved(Trials);

impl MessageHandler<Moved> for OnMoved {
    async fn handle(&self, event: Moved, cx: &Context) -> Result<()> {
        self.0.applies(cx, &event.account, event.sequence);
        tokio::time::sleep(Duration::from_millis(event.think_ms / 2)).await;
        let book = format!("moved:{}", event.account);
        Shelf(cx).apply(book, event.sequence, event.amount).await.map(drop)
    }
}

struct OnBooked(Trials);

impl MessageHandler<Booked> for OnBooked {
    async fn handle(&self, event: Booked, cx: &Context) -> Result<()> {
        self.0.applies(cx, &event.account, event.sequence);
        let book = format!("booked:{}", event.account);
        Shelf(cx).apply(book, event.sequence, 0).await.map(drop)
    }
}

struct OnFlagged(Trials);

impl MessageHandler<Flagged> for OnFlagged {
    async fn handle(&self, event: Flagged, cx: &Context) -> Result<()> {
        if self.0.is_first_run(cx) {
            return Err(LookAgain.into());
        }
        let findings = cx.repository::<Finding>();
        let Some(mut finding) = findings.get(&event.transfer).await? else {
            return findings.add(&Finding { transfer: event.transfer, times: 1 });
        };
        finding.times += 1;
        findings.save(&finding)
    }
}

async fn show_findings(_: ShowFindings, cx: &ReadContext) -> Result<Vec<Finding>> {
    let (findings, mut found, mut after) = (cx.repository::<Finding>(), Vec::new(), None);
    loop {
        let page = Criteria::all().limit(500);
        let page = match after.take() {
            Some(cursor) => page.after(cursor),
            None => page,
        };
        let page = findings.find(page).await?;
        found.extend(page.items.into_iter().map(mamey::Versioned::into_inner));
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

pub(super) fn context(trials: &Trials) -> BoundedContext {
    BoundedContext::new("audit")
        .aggregate::<Book>()
        .aggregate::<Finding>()
        .on(OnMoved(trials.clone()))
        .on(OnBooked(trials.clone()))
        .on(OnFlagged(trials.clone()))
        .query(book::show)
        .query(show_findings)
}
