//! Records what a unit did with its message: handled, parked or given up.

use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{CommitOutcome, Origin, Outcome, Receipt};

use super::script::{Expect, Script};
use crate::sql::rows::to_json;
use crate::sqlite::inbox::receive;
use crate::sqlite::query::values::key;

const LANE_IS_PARKED: &str = "SELECT 1 FROM mamey_parked WHERE context = ? AND lane = ? LIMIT 1";

const NEXT_POSITION: &str = "\
INSERT INTO mamey_counters (context, name, value) VALUES (?, 'position', 1)
ON CONFLICT DO UPDATE SET value = value + 1";

const PARK: &str = "\
INSERT INTO mamey_parked
  (position, context, id, lane, slot, due, since, attempts, failure, metadata, payload)
SELECT value, context, ?, ?, ?, ?, ?, ?, ?, ?, ?
FROM mamey_counters WHERE context = ? AND name = 'position'";

const GIVE_UP: &str = "\
INSERT INTO mamey_dead_letters
  (position, context, id, lane, slot, reason, attempts, first_failed, last_failed, failure,
   metadata, payload)
SELECT value, context, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
FROM mamey_counters WHERE context = ? AND name = 'position'";

const UNPARK: &str = "DELETE FROM mamey_parked WHERE context = ? AND id = ?";

const PARK_AGAIN: &str =
    "UPDATE mamey_parked SET due = ?, attempts = ?, failure = ? WHERE context = ? AND id = ?";

const GIVE_UP_PARKED: &str = "\
INSERT INTO mamey_dead_letters
  (position, context, id, lane, slot, reason, attempts, first_failed, last_failed, failure,
   metadata, payload)
SELECT position, context, id, lane, slot, ?, ?, since, ?, ?, metadata, payload
FROM mamey_parked WHERE context = ? AND id = ?";

/// Adds what the receipt of a unit says to its script.
pub(super) fn record(
    script: &mut Script,
    context: &str,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<()> {
    match receipt.origin {
        Origin::Delivery => record_delivery(script, context, receipt, now),
        Origin::Parked => record_parked(script, context, receipt, now),
    }
}

fn record_delivery(
    script: &mut Script,
    context: &str,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<()> {
    receive(script, context, receipt.identity, now);
    let parks = mamey_core::inject_fault!(
        "parked-key-unchecked",
        true,
        matches!(receipt.outcome, Outcome::Park { .. })
    );
    if let Some(lane) = receipt.envelope.lane()
        && !parks
    {
        let blocked = Expect::NoRow(Ok(CommitOutcome::LaneParked));
        script.statement(LANE_IS_PARKED, blocked).bind(context).bind(lane.as_str());
    }
    match &receipt.outcome {
        Outcome::Handled => return Ok(()),
        Outcome::Park { delay, attempts, failure } => {
            add_positioned(script, context, PARK, receipt);
            script.bind(now.plus(*delay).as_micros()).bind(now.as_micros());
            script.bind(i64::from(*attempts)).bind(to_json(failure)?);
        }
        Outcome::DeadLetter { reason, attempts, failure } => {
            add_positioned(script, context, GIVE_UP, receipt);
            script.bind(reason.as_str()).bind(i64::from(*attempts));
            script.bind(now.as_micros()).bind(now.as_micros());
            script.bind(to_json(failure)?);
        }
    }
    script
        .bind(to_json(&receipt.envelope.metadata)?)
        .bind(receipt.envelope.payload.as_ref())
        .bind(context);
    Ok(())
}

/// Takes the next position of the context, and begins the row that has it.
fn add_positioned(script: &mut Script, context: &str, sql: &str, receipt: &Receipt) {
    let metadata = &receipt.envelope.metadata;
    let lane = receipt.envelope.lane();
    script.statement(NEXT_POSITION, Expect::Anything).bind(context);
    script
        .statement(sql, Expect::Anything)
        .bind(key(receipt.identity))
        .bind(lane.as_ref().map(|lane| lane.as_str()))
        .bind(i64::from(metadata.slot()));
}

fn record_parked(
    script: &mut Script,
    context: &str,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<()> {
    let id = key(receipt.identity);
    let still_parked = || Expect::Change(Ok(CommitOutcome::Duplicate));
    match &receipt.outcome {
        Outcome::Handled => {
            script.statement(UNPARK, still_parked());
        }
        Outcome::Park { delay, attempts, failure } => {
            script.statement(PARK_AGAIN, still_parked());
            script.bind(now.plus(*delay).as_micros()).bind(i64::from(*attempts));
            script.bind(to_json(failure)?);
        }
        Outcome::DeadLetter { reason, attempts, failure } => {
            let (reason, attempts) = (reason.as_str(), i64::from(*attempts));
            script.statement(GIVE_UP_PARKED, still_parked());
            script.bind(reason).bind(attempts).bind(now.as_micros());
            script.bind(to_json(failure)?).bind(context).bind(&id[..]);
            script.statement(UNPARK, still_parked());
        }
    }
    script.bind(context).bind(id);
    Ok(())
}
