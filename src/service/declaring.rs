//! Tells the store and the transport what this build of a context needs, and keeps it true while other
//! builds come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::ContextName;
use mamey_core::store::{
    DECLARED_EVERY, Declaration, InstanceId, Partitioning, Phase, Store, Subscription,
};
use mamey_core::transport::{Topology, Transport};
use mamey_core::{LogThrottle, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use super::turn::in_turn;

/// How often to look whether other instances have changed the number of partitions.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often to look while the number is being changed.
const LOOK_OFTEN: Duration = Duration::from_millis(100);

/// What one build of a context declares.
pub(super) struct Declaring {
    pub(super) store: Arc<dyn Store>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) instance: InstanceId,
    /// The number of partitions that this instance is set to.
    pub(super) wanted: u16,
    pub(super) partitioning: Partitioning,
    topology: Topology,
    declaration: Declaration,
    declared_at: Instant,
    /// Whether the last look found that nobody is left on the number of partitions before.
    pub(super) was_over: bool,
    /// When the queues of the number before were last seen empty.
    pub(super) looked_back_at: Instant,
    /// Ignored messages that nothing leads to the context any more.
    unbound: BTreeSet<&'static str>,
    /// The number of partitions to work over; none while nobody works.
    in_force: watch::Sender<Option<u16>>,
    throttle: LogThrottle,
}

impl Declaring {
    /// What the context's topology says.
    pub(super) fn new(
        store: &Arc<dyn Store>,
        transport: &Arc<dyn Transport>,
        instance: InstanceId,
        mut topology: Topology,
    ) -> Self {
        let ignores = std::mem::take(&mut topology.forgets);
        let declaration = Declaration::new(topology.handles.clone(), ignores)
            .with_in_process(!transport.capabilities().remote);
        let wanted = topology.partitions;
        Self {
            store: Arc::clone(store),
            transport: Arc::clone(transport),
            instance,
            wanted,
            partitioning: Partitioning::new(wanted, Phase::Stable { former: None }),
            declaration,
            topology,
            declared_at: Instant::now(),
            was_over: false,
            looked_back_at: Instant::now(),
            unbound: BTreeSet::new(),
            in_force: watch::Sender::new(None),
            throttle: LogThrottle::default(),
        }
    }

    /// The number of partitions to work over, which may change; none while nobody works.
    pub(super) fn in_force(&self) -> watch::Receiver<Option<u16>> {
        self.in_force.subscribe()
    }

    /// Declares everything, first to the store: a build that ignores a message asks there before it
    /// drops one.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let (store, instance) = (Arc::clone(&self.store), self.instance);
        in_turn(&store, instance, async {
            self.store.declare_subscriptions(&self.declaration).await?;
            self.apply().await
        })
        .await?;
        if self.partitioning.partitions != self.wanted {
            let (context, partitioning) = (&self.topology.context, self.partitioning);
            tracing::info!(
                %context, wanted = self.wanted, in_force = partitioning.partitions,
                "the context has another number of partitions until all its instances want this one"
            );
        }
        self.announce();
        Ok(())
    }

    /// Repeats the declaration, and follows and makes changes, for as long as the service runs.
    pub(super) async fn keep(mut self) {
        loop {
            let is_stable = matches!(self.partitioning.phase, Phase::Stable { .. });
            tokio::time::sleep(if is_stable { LOOK_EVERY } else { LOOK_OFTEN }).await;
            if let Err(error) = self.look().await
                && let Some(suppressed) = self.throttle.admit(Instant::now().into_std())
            {
                let context = &self.topology.context;
                tracing::warn!(
                    %context, %error, suppressed,
                    "what the context needs could not be declared; it is tried again"
                );
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        if self.declared_at.elapsed() >= DECLARED_EVERY {
            self.repeat().await?;
        }
        if self.transport.capabilities().repartitions {
            self.follow_partitions().await?;
        }
        Ok(())
    }

    async fn repeat(&mut self) -> Result<()> {
        self.store.declare_subscriptions(&self.declaration).await?;
        self.declared_at = Instant::now();
        let unwanted = self.unwanted().await?;
        self.unbound.retain(|name| unwanted.contains(name));
        if self.unbound == unwanted {
            return Ok(());
        }
        self.apply_in_turn().await
    }

    /// Declares everything to the transport when it is this instance's turn.
    pub(super) async fn apply_in_turn(&mut self) -> Result<()> {
        let (store, instance) = (Arc::clone(&self.store), self.instance);
        in_turn(&store, instance, self.apply()).await
    }

    /// Declares everything to the transport, and ends what leads unwanted messages to the context. In
    /// turn, because another build could change it meanwhile.
    async fn apply(&mut self) -> Result<()> {
        if self.transport.capabilities().repartitions {
            (self.partitioning, _) = self.store.partitioning(self.wanted).await?;
        }
        let unwanted = self.unwanted().await?;
        let topology = self.topology_of(self.partitioning);
        let topology = topology.with_forgets(unwanted.iter().copied().collect());
        self.transport.apply(&topology).await?;
        for name in unwanted.difference(&self.unbound) {
            let context = &self.topology.context;
            tracing::info!(%context, message = name, "the context is not sent such messages any more");
        }
        self.unbound = unwanted;
        Ok(())
    }

    /// The topology while this is in force. A durable transport leads messages to the queues of a new
    /// number while those of the old one are drained; one that keeps nothing moves them in the end.
    fn topology_of(&self, partitioning: Partitioning) -> Topology {
        let topology = self.topology.clone();
        match (self.transport.capabilities().durable, partitioning.phase) {
            (true, _) => topology
                .with_partitions(partitioning.receiving())
                .with_former(partitioning.draining()),
            (false, Phase::Stable { former }) => {
                topology.with_partitions(partitioning.partitions).with_former(former)
            }
            (false, Phase::Draining { .. }) => topology.with_partitions(partitioning.partitions),
            (false, Phase::Settling { from }) => topology.with_partitions(from),
        }
    }

    pub(super) const fn context(&self) -> &ContextName {
        &self.topology.context
    }

    /// Tells relay and consumer over how many partitions to work.
    pub(super) fn announce(&self) {
        let Partitioning { partitions, phase, .. } = self.partitioning;
        let number = match phase {
            Phase::Stable { .. } | Phase::Draining { .. } => Some(partitions),
            Phase::Settling { .. } => None,
        };
        self.in_force.send_if_modified(|now| std::mem::replace(now, number) != number);
    }

    /// The ignored messages that no other build handles.
    async fn unwanted(&self) -> Result<BTreeSet<&'static str>> {
        let mut ignores: BTreeSet<_> = self.declaration.ignores.iter().copied().collect();
        if ignores.is_empty() {
            return Ok(ignores);
        }
        let declared = self.store.subscriptions(&self.declaration.ignores).await?;
        for wanted in declared.iter().filter(|it| Subscription::is_wanted(it)) {
            ignores.remove(wanted.name.as_str());
        }
        Ok(ignores)
    }
}
