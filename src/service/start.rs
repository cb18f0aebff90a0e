//! Starting: open the stores, declare the topology, then set relays and consumers to work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::Clock;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::store::{InstanceId, Store};
use mamey_core::transport::{Responder, Serving, Transport};
use mamey_core::{Error, Result, ResultExt};
use mamey_cqrs::{BoundedContext, ContextRuntime, Resources};
use mamey_messaging::{Consumer, ConsumerOptions, Relay, RelayOptions};

use super::Service;
use super::hosted::Hosted;
use super::running::{Backends, RunningService};
use super::settings::Settings;
use super::tasks::Tasks;

/// How often what was received long ago is forgotten.
const HOUSEKEEPING_EVERY: Duration = Duration::from_hours(1);

pub(super) async fn start(service: Service) -> Result<RunningService> {
    check_names(&service.contexts)?;
    service.settings.check()?;
    let Service { settings, contexts, database, transport, clock } = service;
    let database = match database {
        Some(database) => database,
        None => mamey_persistence::connect(&settings.store_url, Arc::clone(&clock)).await?,
    };
    let transport = match transport {
        Some(transport) => transport,
        None => mamey_messaging::connect(&settings.transport_url).await?,
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
    let workplace = Workplace { settings: &settings, backends: &backends, instance };
    let hosted = open.into_iter().map(|open| workplace.set_to_work(open, &mut tasks)).collect();
    Ok(RunningService::new(hosted, backends, tasks, settings.drain))
}

fn check_names(contexts: &[BoundedContext]) -> Result<()> {
    if contexts.is_empty() {
        return Err(Error::misconfigured(
            "the service hosts nothing: add `.host(…)` with a BoundedContext",
        ));
    }
    let mut names = BTreeSet::new();
    for context in contexts {
        if !names.insert(context.name()) {
            return Err(Error::misconfigured(format!(
                "two contexts are called `{}`: one service hosts a context once",
                context.name()
            )));
        }
    }
    Ok(())
}

/// A context that is open, and takes requests if it serves any.
struct Open {
    runtime: Arc<ContextRuntime>,
    serving: Option<Box<dyn Serving>>,
}

/// Every context's topology is declared, and its requests are served, before the first message
/// moves: an event published early would otherwise find that one of its subscribers is not there
/// yet, and its handler that nobody answers.
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

/// What all relays and consumers of a service share.
struct Workplace<'s> {
    settings: &'s Settings,
    backends: &'s Backends,
    instance: InstanceId,
}

impl Workplace<'_> {
    fn set_to_work(&self, open: Open, tasks: &mut Tasks) -> Hosted {
        let Open { runtime, serving } = open;
        let (name, store) = (runtime.name(), runtime.store());
        let consumer = self.consumer(&runtime);
        let relay = self.relay(store);
        let (consumed, relayed) = (consumer.stats(), relay.stats());
        tasks.consume(format!("the consumer of `{name}`"), |stop| consumer.run(stop));
        tasks.relay(format!("the relay of `{name}`"), |stop| relay.run(stop));
        let (store, clock) = (Arc::clone(store), Arc::clone(&self.backends.clock));
        tasks.keep_house(housekeeping(store, clock, self.settings.inbox_window));
        Hosted { runtime, consumed, relayed, serving }
    }

    /// Relays and consumers end one after the other, and each needs a moment to give its leases
    /// back before it is cut off.
    fn drain_share(&self) -> Duration {
        self.settings.drain * 2 / 5
    }

    fn relay(&self, store: &Arc<dyn Store>) -> Relay {
        let options = RelayOptions::default()
            .with_instance(self.instance)
            .with_partitions(self.settings.partitions)
            .with_lease(self.settings.lease)
            .with_poll(self.settings.poll)
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
        Consumer::new(runtime.clone(), store, transport, Arc::clone(&self.backends.clock), options)
    }
}

async fn housekeeping(store: Arc<dyn Store>, clock: Arc<dyn Clock>, window: Duration) {
    loop {
        match store.expire_inbox(clock.now().minus(window)).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::debug!(forgotten, "the inbox forgot what is past its window"),
            Err(error) => tracing::warn!(%error, "the inbox could not forget; it tries again"),
        }
        tokio::time::sleep(HOUSEKEEPING_EVERY).await;
    }
}
