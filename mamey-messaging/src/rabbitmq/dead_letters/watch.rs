//! Watches the dead letters of each context, so that messages which the broker gave up are reported.

use std::sync::Weak;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use mamey_core::Result;
use mamey_core::message::ContextName;

use crate::rabbitmq::broker::Broker;
use crate::rabbitmq::channel;
use crate::rabbitmq::error::{call, short};

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// How many dead letters of a context wait on the broker.
pub(crate) async fn count(broker: &Broker, context: &ContextName) -> Result<u64> {
    let queue = broker.options.layout.dead_letters(context)?;
    let limit = broker.options.call_timeout;
    let channel = broker.ensure_declared(context).await?.open_channel(limit).await?;
    let doing = format!("looking at queue `{queue}`");
    let name = short(&queue)?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let look = channel.queue_declare(name, options, FieldTable::default());
    let found = call(limit, &doing, look).await;
    channel::close(&channel).await;
    match found {
        Ok(queue) => Ok(u64::from(queue.message_count())),
        Err(error) => {
            // It may have been deleted: its next user declares it again.
            broker.forget_declared(context);
            Err(error)
        }
    }
}

/// Reports new dead letters until the transport is closed. Consumers report what they reject
/// themselves, but nothing else reports a message that the broker gave up for its delivery limit.
pub(crate) async fn watch(broker: Weak<Broker>, context: ContextName) {
    let mut known = 0;
    // A transport that was dropped without being closed must not be kept alive by this task.
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
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
