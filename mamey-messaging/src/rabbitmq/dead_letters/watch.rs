//! Looks at the dead letters of each context, so that what the broker itself gave up on shows.

use std::sync::Weak;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use mamey_core::Result;
use mamey_core::message::ContextName;

use crate::rabbitmq::Broker;
use crate::rabbitmq::connection::close_channel;
use crate::rabbitmq::error::{call, short};

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How many dead letters of a context wait on the broker.
pub(crate) async fn count(broker: &Broker, context: &ContextName) -> Result<u64> {
    let queue = broker.options.dead_letters(context)?;
    let limit = broker.options.call_timeout;
    let channel = broker.ensure_declared(context).await?.open_channel(limit).await?;
    let doing = format!("looking at queue `{queue}`");
    let name = short(&queue)?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let look = channel.queue_declare(name, options, FieldTable::default());
    let found = call(limit, &doing, look).await;
    close_channel(&channel).await;
    match found {
        Ok(queue) => Ok(u64::from(queue.message_count())),
        Err(error) => {
            // It may have been deleted: it is declared again by whoever needs it next.
            broker.forget_declared(context);
            Err(error)
        }
    }
}

/// Reports dead letters that came, until the transport is closed. What consumers set aside they
/// report themselves; a broker that drops a message for its delivery limit tells nobody.
pub(crate) async fn watch(broker: Weak<Broker>, context: ContextName) {
    let mut known = 0;
    // A transport that was dropped without being closed is not kept by this.
    while let Some(broker) = broker.upgrade() {
        if let Ok(waiting) = count(&broker, &context).await {
            if waiting > known {
                tracing::error!(
                    %context, waiting, new = waiting - known,
                    "dead letters wait on the broker; their headers say why"
                );
            }
            known = waiting;
        }
        let closed = broker.closed.clone();
        drop(broker);
        tokio::select! {
            () = closed.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
