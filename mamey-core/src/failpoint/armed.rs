//! What failpoints and fault injection do in a build that has them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::Result;
use crate::message::Envelope;
use crate::store::{Lease, RecordId, Store};
use crate::transport::{Delivery, Publisher, Routed, Settle, Settlement};

/// Which failpoint ends the process, and on which pass: `NAME:PASS`, passes counted from 1.
const FAILPOINT: &str = "MAMEY_FAILPOINT";

/// Which law is broken.
const BROKEN_LAW: &str = "MAMEY_INJECT_FAULT";

struct Plan {
    name: String,
    passes_left: AtomicU32,
}

/// Ends the process, without running destructors or flushing, when the plan says so.
pub fn point(name: &str) {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| parse(&std::env::var(FAILPOINT).ok()?));
    if let Some(plan) = plan.as_ref().filter(|plan| plan.name == name)
        && plan.passes_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

fn parse(text: &str) -> Option<Plan> {
    let (name, pass) = text.split_once(':')?;
    Some(Plan { name: name.to_owned(), passes_left: AtomicU32::new(pass.parse().ok()?) })
}

/// Whether this law is broken on purpose.
#[must_use]
pub fn is_broken(law: &str) -> bool {
    static BROKEN: OnceLock<Option<String>> = OnceLock::new();
    BROKEN.get_or_init(|| std::env::var(BROKEN_LAW).ok()).as_deref() == Some(law)
}

/// The same delivery, acknowledged before it is handled.
#[must_use]
pub fn acknowledged(delivery: Delivery) -> Delivery {
    let (envelope, redelivered) = (delivery.envelope().clone(), delivery.is_redelivered());
    delivery.settle(Settlement::Ack);
    Delivery::new(envelope, redelivered, Box::new(Settled))
}

struct Settled;

impl Settle for Settled {
    fn settle(self: Box<Self>, _settlement: Settlement) {}
}

/// A publisher that deletes the record before it publishes the message.
#[must_use]
pub fn deleting_first(
    store: &Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    record: (Lease, RecordId),
) -> Arc<dyn Publisher> {
    Arc::new(DeletesFirst { store: Arc::clone(store), publisher, record })
}

struct DeletesFirst {
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    record: (Lease, RecordId),
}

#[async_trait]
impl Publisher for DeletesFirst {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        self.store.delete_published(&[self.record]).await?;
        self.publisher.publish(envelope).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_a_point_and_a_pass() {
        let plan = parse("while-parking:2").unwrap();
        assert_eq!((plan.name.as_str(), plan.passes_left.into_inner()), ("while-parking", 2));
        assert!(parse("while-parking").is_none() && parse("while-parking:soon").is_none());
    }
}
