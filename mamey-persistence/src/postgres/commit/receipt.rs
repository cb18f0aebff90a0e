//! Writes the outcome of the message that is being handled, as the function that commits takes it.

use mamey_core::Result;
use mamey_core::store::{Origin, Outcome, Receipt};
use serde_json::{Value as Json, json};

use crate::postgres::query::values::{escape, micros};
use crate::sql::rows::to_json;

/// What the commit records of the message besides its mark in the inbox; `None` for one that was
/// delivered and handled, where the mark is all.
pub(crate) fn outcome(receipt: &Receipt) -> Result<Option<Json>> {
    let (metadata, lane) = (&receipt.envelope.metadata, receipt.envelope.lane());
    let (becomes, delay, reason) = match (receipt.origin, &receipt.outcome) {
        (Origin::Delivery, Outcome::Handled) => return Ok(None),
        (Origin::Parked, Outcome::Handled) => ("handled", None, None),
        (_, Outcome::Park { delay, .. }) => ("parked", Some(micros(*delay)), None),
        (_, Outcome::DeadLetter { reason, .. }) => ("dead", None, Some(reason.as_str())),
    };
    let (attempts, failure) = match &receipt.outcome {
        Outcome::Handled => (None, None),
        Outcome::Park { attempts, failure, .. } | Outcome::DeadLetter { attempts, failure, .. } => {
            (Some(*attempts), Some(failure))
        }
    };
    Ok(Some(json!({
        "id": receipt.identity.as_uuid(),
        "origin": match receipt.origin {
            Origin::Delivery => "delivery",
            Origin::Parked => "parked",
        },
        "lane": lane.as_ref().map(|lane| escape(lane.as_str())),
        "slot": metadata.slot(),
        "becomes": becomes,
        "delay": delay,
        "reason": reason,
        "attempts": attempts,
        "failure": failure.map(to_json).transpose()?,
        "metadata": to_json(metadata)?,
    })))
}
