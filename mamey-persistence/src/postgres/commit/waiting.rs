//! A unit that waits for what another transaction holds: alone, outside of the calls of others.

use std::sync::Arc;
use std::time::Instant;

use super::answer::UnitAnswer;
use super::committer::{Answer, Committer, Ticket, Way};
use super::turns::TURN_MIN;
use crate::common::lock::lock;
use crate::postgres::connection::shares::Purpose;
use crate::postgres::error::is_held;

impl Committer {
    /// Commits a unit that most likely has to wait. Its claims stay its own meanwhile, so whoever needs
    /// the same waits behind it, and nobody else does.
    pub(super) async fn wait_alone(self: Arc<Self>, ticket: Ticket) {
        self.database.counters.add_waiting();
        let answer = self.wait(&ticket).await;
        self.announce(std::slice::from_ref(&ticket.work));
        {
            let (mut grouping, claims) = (lock(&self.grouping), &ticket.work.claims);
            match &answer {
                Ok(UnitAnswer::Held) => grouping.found_held(claims),
                Err(cause) if is_held(cause) => grouping.found_held(claims),
                _ => grouping.found_free(claims),
            }
            grouping.release(claims);
        }
        self.start_calls();
        ticket.answer(answer);
    }

    /// Tries again, each time for one turn, until the unit has waited for as long as it may.
    async fn wait(&self, ticket: &Ticket) -> Answer {
        let member = self.database.turns.join();
        let left = || ticket.waits_until.saturating_duration_since(Instant::now()).max(TURN_MIN);
        loop {
            let (purpose, lock_wait) = (Purpose::Wait, member.turn().min(left()));
            let way = Way { purpose, acquire: left(), lock_wait };
            match self.send_one(&ticket.work, way).await {
                Err(cause) if is_held(&cause) && Instant::now() < ticket.waits_until => {}
                Err(sqlx::Error::PoolTimedOut) => return Ok(UnitAnswer::Held),
                answer => return answer.map_err(Arc::new),
            }
        }
    }
}
