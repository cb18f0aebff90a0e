//! Changes the number of a context's partitions while its instances run: nothing is lost, and the order
//! of each key holds.
//!
//! The number changes when every instance that runs is set to another one, so at the end of a
//! deployment. First messages are led to queues of the new number, while the instances go on with those
//! of the old one until they are empty. Then all stop, and one of them makes sure that nobody is left
//! and nothing waits behind; then they begin with the new number. Each step is recorded in the store, so
//! any instance continues what another has begun.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::Result;
use mamey_core::store::{Member, Partitioning, Phase};
use mamey_core::transport::Waiting;
use tokio::time::Instant;

use super::declaring::Declaring;
use super::turn::try_in_turn;

/// How long the queues of the number before are kept, in case that a broker or a client is slow to
/// follow. What arrives there late is handled.
const FORMER_KEPT: Duration = Duration::from_mins(10);

/// How often to look into them.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(5);

impl Declaring {
    /// Does what others have begun, and then the next step of it.
    pub(super) async fn follow_partitions(&mut self) -> Result<()> {
        let (now, age) = self.store.partitioning(self.wanted).await?;
        if now != self.partitioning {
            self.was_over = false;
            if let Phase::Settling { .. } = now.phase {
                // Nobody may work on what others are about to leave.
                self.partitioning = now;
                self.announce();
            }
            self.apply_in_turn().await?;
            self.announce();
        }
        if !self.is_due(age).await? {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let instance = self.instance;
        try_in_turn(&store, instance, self.step()).await
    }

    /// Whether a next step may be due, found out without asking the transport.
    async fn is_due(&mut self, age: Duration) -> Result<bool> {
        let Partitioning { partitions, phase, .. } = self.partitioning;
        Ok(match phase {
            Phase::Stable { .. } if partitions != self.wanted => self.all_agree(partitions).await?,
            Phase::Stable { former: Some(former) } => {
                age >= FORMER_KEPT || self.has_come_late(former).await?
            }
            Phase::Stable { former: None } => false,
            Phase::Draining { .. } | Phase::Settling { .. } => true,
        })
    }

    /// Takes the next step, if it is due: nobody else takes one meanwhile.
    async fn step(&mut self) -> Result<()> {
        let (now, age) = self.store.partitioning(self.wanted).await?;
        if now != self.partitioning || !self.is_due(age).await? {
            return Ok(());
        }
        let Some(next) = self.next().await? else { return Ok(()) };
        if !self.store.change_partitioning(now, next).await? {
            return Ok(());
        }
        if let (Phase::Stable { former: Some(former) }, Phase::Stable { former: None }) =
            (now.phase, next.phase)
        {
            return self.transport.forget_partitions(self.context(), former).await;
        }
        let (context, partitions, phase) = (self.context(), next.partitions, next.phase);
        tracing::info!(
            %context, partitions, phase = phase.as_str(), other = phase.other(),
            "the number of the context's partitions is being changed"
        );
        Ok(())
    }

    /// What comes after what is in force, if it may come now.
    async fn next(&mut self) -> Result<Option<Partitioning>> {
        let Partitioning { partitions, phase, .. } = self.partitioning;
        Ok(match phase {
            // Nothing waits in queues of such a transport that is not in an outbox, too.
            Phase::Stable { .. }
                if partitions != self.wanted && !self.transport.capabilities().durable =>
            {
                Some(Partitioning::new(self.wanted, Phase::Settling { from: partitions }))
            }
            Phase::Stable { former: Some(former) } if former != self.wanted => {
                // Late messages of the number before are handled before its queues are deleted.
                Some(match self.waiting(former).await?.messages {
                    0 => Partitioning::new(partitions, Phase::Stable { former: None }),
                    _ => Partitioning::new(former, Phase::Draining { to: partitions }),
                })
            }
            Phase::Stable { .. } => {
                Some(Partitioning::new(partitions, Phase::Draining { to: self.wanted }))
            }
            Phase::Draining { to } => {
                let waiting = self.waiting(partitions).await?;
                // With a consumer at each queue the count comes from its leader, and is certain.
                let all_attended = waiting.attended == u64::from(partitions);
                let is_empty = waiting.messages == 0 && all_attended;
                is_empty.then_some(Partitioning::new(to, Phase::Settling { from: partitions }))
            }
            Phase::Settling { from } => {
                let members = self.store.members().await?;
                if members.iter().any(|member| member.partitions == from) {
                    return Ok(None);
                }
                let waiting = self.waiting(from).await?;
                // A frozen instance is no member any more, and may still have a message. Two looks in a row
                // agree, because a broker that changes a leader may know nothing for a moment.
                let was_over = std::mem::replace(&mut self.was_over, waiting.is_over());
                if waiting.messages > 0 {
                    Some(Partitioning::new(from, Phase::Draining { to: partitions }))
                } else {
                    let phase = Phase::Stable { former: Some(from) };
                    let is_over = waiting.is_over() && was_over;
                    is_over.then_some(Partitioning::new(partitions, phase))
                }
            }
        })
    }

    /// Whether all instances that run work over this number, and are set to the one of this instance.
    async fn all_agree(&self, partitions: u16) -> Result<bool> {
        let members = self.store.members().await?;
        let agrees = |it: &Member| it.wanted == self.wanted && it.partitions == partitions;
        Ok(!members.is_empty() && members.iter().all(agrees))
    }

    /// Whether something waits in the queues of the number before after all.
    async fn has_come_late(&mut self, former: u16) -> Result<bool> {
        if self.looked_back_at.elapsed() < LOOK_BACK_EVERY {
            return Ok(false);
        }
        let has_come = self.waiting(former).await?.messages > 0;
        if !has_come {
            self.looked_back_at = Instant::now();
        }
        Ok(has_come)
    }

    async fn waiting(&self, partitions: u16) -> Result<Waiting> {
        self.transport.waiting(self.context(), partitions).await
    }
}
