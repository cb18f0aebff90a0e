//! Parks a message while its handler runs, so that nothing waits for the handler but its own lane.

use std::time::Duration;

use mamey_core::store::{
    CommitOutcome, Failure, InstanceId, Origin, Outcome, Receipt, Store, UnitOfWork,
};
use mamey_core::transport::Settlement;

use super::in_hand::InHand;
use crate::guard::guarded;

/// What became of a message that was to be parked while its handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandOver {
    /// It is parked, and the transport was told.
    Parked,
    /// Earlier messages of its lane are parked: its handler's commit will be refused.
    LaneParked,
    /// It was recorded before, or its commit is under way.
    Ending,
    /// The store failed.
    Failed,
}

/// Parks a message whose handler runs on in this instance. Should that run never end, it is retried
/// after `delay`.
pub(super) async fn hand_over(
    store: &dyn Store,
    in_hand: &InHand,
    (instance, delay): (InstanceId, Duration),
) -> HandOver {
    let Some(moving) = in_hand.custody.begin_move() else {
        return HandOver::Ending;
    };
    let (envelope, attempts) = (in_hand.envelope.clone(), in_hand.attempt());
    let outcome = Outcome::ParkFirst { delay, attempts, failure: Failure::running() };
    let receipt = Receipt::new(envelope, Origin::Delivery, outcome);
    let identity = receipt.identity;
    let unit = UnitOfWork::default().with_receipt(receipt);
    match guarded(store.commit(unit)).await {
        Ok(CommitOutcome::Committed(_)) => {}
        Ok(CommitOutcome::LaneParked) => return HandOver::LaneParked,
        Ok(CommitOutcome::Duplicate) => return HandOver::Ending,
        Err(error) => {
            tracing::debug!(%error, "a message could not be parked while its handler runs");
            return HandOver::Failed;
        }
    }
    // The attempt began long ago: should the process end, it is known whose it was. Without that, it
    // is one more attempt.
    let begun = guarded(store.begin_parked(instance, &[identity])).await;
    if let Err(error) = begun {
        tracing::debug!(%error, "it could not be recorded that a handler runs");
    }
    moving.succeed();
    if let Some(unsettled) = in_hand.take_unsettled() {
        unsettled.settle(Settlement::Ack);
    }
    HandOver::Parked
}
