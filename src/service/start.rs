//! Starting: open the stores, declare the topology, then start relays and consumers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::message::ContextName;
use mamey_core::store::{InstanceId, Store};
use mamey_core::transport::{Owner, Responder, Serving, Transport};
use mamey_core::{Error, Result, ResultExt};
use mamey_cqrs::{BoundedContext, ContextRuntime, Resources};
use mamey_messaging::{Consumer, ConsumerOptions, Relay, RelayOptions};

use super::Service;
use super::hosted::Hosted;
use super::running::{Backends, RunningService};
use super::settings::Settings;
use super::tasks::Tasks;
use super::waiting::Wait;

/// How often the inbox forgets what is past its window.
const HOUSEKEEPING_EVERY: Duration = Duration::from_hours(1);

impl Service {
    /// Migrates the store, declares what is sent and received, and starts to work.
    ///
    /// # Errors
    /// `Misconfigured` for contexts, settings or a store that cannot work, with the fix;
    /// `Unavailable` when a server cannot be reached within [`Settings::wait`]. Nothing is left
    /// running.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing running. Migrations that were committed stay.
    pub async fn start(self) -> Result<RunningService> {
        check_names(&self.contexts)?;
        self.settings.check()?;
        let Service { settings, contexts, database, transport, clock } = self;
        let wait = Wait::begin(settings.wait);
        let database = match database {
            Some(database) => database,
            None => {
                let url = settings.store()?;
                let connect = || mamey_persistence::connect(url.clone(), Arc::clone(&clock));
                wait.for_server("the store", connect).await?
            }
        };
        let transport = match transport {
            Some(transport) => transport,
            None => {
                let url = settings.transport()?;
                wait.for_server("the transport", || mamey_messaging::connect(url.clone())).await?
            }
        };
        let ids: Arc<dyn IdSource> = Arc::new(UuidV7Source::new(Arc::clone(&clock)));
        let backends = Backends { database, transport, clock, ids };
        let open = match host_all(contexts, &settings, &backends).await {
            Ok(open) => open,
            Err(error) => {
                backends.close().await;
                return Err(error);
            }
        };
        tracing::info!(
            store = backends.database.describe(),
            transport = backends.transport.describe(),
            contexts = open.len(),
            "the service starts"
        );
        let mut tasks = Tasks::default();
        let instance = InstanceId::new(mamey_core::id::new_uuid());
        let workers = Workers { settings: &settings, backends: &backends, instance };
        let hosted = open.into_iter().map(|open| workers.start(open, &mut tasks)).collect();
        Ok(RunningService::new(hosted, backends, tasks, settings.drain))
    }
}

fn check_names(contexts: &[BoundedContext]) -> Result<()> {
    if contexts.is_empty() {
        return Err(Error::misconfigured("the service hosts no context: add one with `.host(…)`"));
    }
    let mut names = BTreeSet::new();
    for context in contexts {
        if !names.insert(context.name()) {
            return Err(Error::misconfigured(format!(
                "two contexts have the name `{}`: a service hosts each context once",
                context.name()
            )));
        }
    }
    Ok(())
}

/// A context that is open, and already answers requests if it serves any.
struct Open {
    runtime: Arc<ContextRuntime>,
    serving: Option<Box<dyn Serving>>,
}

/// Opens all contexts. Every topology is declared, and every request served, before the first
/// message moves: an event published earlier could miss a subscriber, and a handler that requests
/// something could find no one to answer.
async fn host_all(
    contexts: Vec<BoundedContext>,
    settings: &Settings,
    backends: &Backends,
) -> Result<Vec<Open>> {
    let mut all = Vec::new();
    for context in contexts {
        let name = context.name().to_owned();
        let doing = || format!("starting context `{name}`");
        let runtime = open(context, settings, backends).await.with_context(doing)?;
        let serving = serve(&runtime, &*backends.transport).await.with_context(doing)?;
        all.push(Open { runtime, serving });
    }
    Ok(all)
}

async fn open(
    context: BoundedContext,
    settings: &Settings,
    backends: &Backends,
) -> Result<Arc<ContextRuntime>> {
    let topology = context.topology(settings.partitions)?;
    let store = backends.database.open(&context.schema()?).await?;
    let owner = Owner::new(store.identity(), backends.database.describe())
        .with_durable(store.capabilities().durable);
    let topology = topology.with_owner(owner);
    backends.transport.apply(&topology).await?;
    let resources = Resources::new(store)
        .with_clock(Arc::clone(&backends.clock))
        .with_ids(Arc::clone(&backends.ids))
        .with_requester(backends.transport.requester());
    context.open(resources)
}

async fn serve(
    runtime: &Arc<ContextRuntime>,
    transport: &dyn Transport,
) -> Result<Option<Box<dyn Serving>>> {
    if runtime.serves().is_empty() {
        return Ok(None);
    }
    let responder = Arc::<ContextRuntime>::clone(runtime);
    transport.serve(runtime.name(), responder).await.map(Some)
}

/// Starts the relay, the consumer and the housekeeping of each context.
struct Workers<'s> {
    settings: &'s Settings,
    backends: &'s Backends,
    instance: InstanceId,
}

impl Workers<'_> {
    fn start(&self, open: Open, tasks: &mut Tasks) -> Hosted {
        let Open { runtime, serving } = open;
        let (name, store) = (runtime.name(), runtime.store());
        let consumer = self.consumer(&runtime);
        let relay = self.relay(name, store);
        let (consumed, relayed) = (consumer.stats(), relay.stats());
        tasks.consume(format!("the consumer of `{name}`"), |stop| consumer.run(stop));
        tasks.relay(format!("the relay of `{name}`"), |stop| relay.run(stop));
        tasks.housekeeping(forget_received(Arc::clone(store), self.settings.inbox_window));
        Hosted { runtime, consumed, relayed, serving }
    }

    /// Relays and consumers end one after the other, and each needs time to return its leases before
    /// it is cut off.
    fn drain_share(&self) -> Duration {
        self.settings.drain * 2 / 5
    }

    fn relay(&self, context: &ContextName, store: &Arc<dyn Store>) -> Relay {
        let options = RelayOptions::default()
            .with_context(context.clone())
            .with_instance(self.instance)
            .with_partitions(self.settings.partitions)
            .with_lease(self.settings.lease)
            .with_poll(self.settings.poll)
            .with_unroutable_for(self.settings.unroutable)
            .with_drain(self.drain_share());
        Relay::new(Arc::clone(store), self.backends.transport.publisher(), options)
    }

    fn consumer(&self, runtime: &Arc<ContextRuntime>) -> Consumer {
        let options = ConsumerOptions::default()
            .with_instance(self.instance)
            .with_partitions(self.settings.partitions)
            .with_lease(self.settings.lease)
            .with_poll(self.settings.poll)
            .with_drain(self.drain_share());
        let (store, transport) =
            (Arc::clone(runtime.store()), Arc::clone(&self.backends.transport));
        Consumer::new(runtime.clone(), store, transport, options)
    }
}

/// Removes from the inbox, from time to time, what is past its window.
async fn forget_received(store: Arc<dyn Store>, window: Duration) {
    loop {
        match store.expire_inbox(window).await {
            Ok(0) => {}
            Ok(forgotten) => {
                tracing::debug!(forgotten, "the inbox forgot messages past its window");
            }
            Err(error) => {
                tracing::warn!(%error, "the inbox could not forget old messages; it is tried again");
            }
        }
        tokio::time::sleep(HOUSEKEEPING_EVERY).await;
    }
}
