//! Starting: open the stores, declare the topology, then set relays and consumers to work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::Clock;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::store::{Database, InstanceId, Store};
use mamey_core::transport::Transport;
use mamey_core::{Error, Result, ResultExt};
use mamey_cqrs::{BoundedContext, ContextRuntime, Resources};
use mamey_messaging::{Consumer, ConsumerOptions, Relay, RelayOptions};

use super::Service;
use super::hosted::Hosted;
use super::running::RunningService;
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
    let hosting = host_all(contexts, &settings, &*database, &*transport, &clock).await;
    let runtimes = match hosting {
        Ok(runtimes) => runtimes,
        Err(error) => {
            transport.close().await;
            database.close().await;
            return Err(error);
        }
    };
    tracing::info!(
        store = database.describe(),
        transport = transport.describe(),
        contexts = runtimes.len(),
        "the service starts"
    );
    let mut tasks = Tasks::default();
    let workplace = Workplace { settings: &settings, transport: &transport, clock: &clock };
    let instance = InstanceId(mamey_core::id::new_uuid());
    let hosted = runtimes
        .into_iter()
        .map(|runtime| workplace.set_to_work(runtime, instance, &mut tasks))
        .collect();
    Ok(RunningService::new(hosted, database, transport, tasks, settings.drain))
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

/// Every context's topology is declared before the first message moves: an event published early
/// would otherwise find that one of its subscribers is not there yet.
async fn host_all(
    contexts: Vec<BoundedContext>,
    settings: &Settings,
    database: &dyn Database,
    transport: &dyn Transport,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<ContextRuntime>>> {
    let ids: Arc<dyn IdSource> = Arc::new(UuidV7Source::new(Arc::clone(clock)));
    let mut runtimes = Vec::new();
    for context in contexts {
        let name = context.name().to_owned();
        let doing = || format!("starting context `{name}`");
        let topology = context.topology(settings.partitions).context(doing)?;
        let store = database.open(&context.schema().context(doing)?).await.context(doing)?;
        transport.apply(&topology).await.context(doing)?;
        let resources = Resources { store, clock: Arc::clone(clock), ids: Arc::clone(&ids) };
        runtimes.push(context.open(resources).context(doing)?);
    }
    Ok(runtimes)
}

/// What all relays and consumers of a service share.
struct Workplace<'s> {
    settings: &'s Settings,
    transport: &'s Arc<dyn Transport>,
    clock: &'s Arc<dyn Clock>,
}

impl Workplace<'_> {
    fn set_to_work(
        &self,
        runtime: Arc<ContextRuntime>,
        instance: InstanceId,
        tasks: &mut Tasks,
    ) -> Hosted {
        let (name, store) = (runtime.name(), runtime.store());
        let consumer = self.consumer(&runtime, instance);
        let relay = self.relay(store, instance);
        let (consumed, relayed) = (consumer.stats(), relay.stats());
        tasks.consume(format!("the consumer of `{name}`"), |stop| consumer.run(stop));
        tasks.relay(format!("the relay of `{name}`"), |stop| relay.run(stop));
        let (store, clock) = (Arc::clone(store), Arc::clone(self.clock));
        tasks.keep_house(housekeeping(store, clock, self.settings.inbox_window));
        Hosted { runtime, consumed, relayed }
    }

    /// Relays and consumers end one after the other, and each needs a moment to give its leases
    /// back before it is cut off.
    fn drain_share(&self) -> Duration {
        self.settings.drain * 2 / 5
    }

    fn relay(&self, store: &Arc<dyn Store>, instance: InstanceId) -> Relay {
        let options = RelayOptions {
            instance,
            partitions: self.settings.partitions,
            lease_duration: self.settings.lease,
            poll_interval: self.settings.poll,
            drain_max: self.drain_share(),
            ..RelayOptions::default()
        };
        Relay::new(Arc::clone(store), self.transport.publisher(), options)
    }

    fn consumer(&self, runtime: &Arc<ContextRuntime>, instance: InstanceId) -> Consumer {
        let options = ConsumerOptions {
            instance,
            partitions: self.settings.partitions,
            lease_duration: self.settings.lease,
            poll_interval: self.settings.poll,
            drain_max: self.drain_share(),
            ..ConsumerOptions::default()
        };
        let (store, transport) = (Arc::clone(runtime.store()), Arc::clone(self.transport));
        Consumer::new(runtime.clone(), store, transport, Arc::clone(self.clock), options)
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
