//! Looks into the queues of a context's partitions, and deletes those that nothing needs any more.

use std::sync::Arc;

use futures_util::future::try_join_all;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use mamey_core::Result;
use mamey_core::message::{ContextName, Partition};
use mamey_core::transport::Waiting;

use super::broker::Broker;
use super::channel;
use super::error::{call, short};

/// What waits in the queues of the partitions of this number.
///
/// A look takes nothing: what a consumer gives back comes behind what was given back before it, which
/// would change the order.
pub(super) async fn waiting(
    broker: &Arc<Broker>,
    context: &ContextName,
    partitions: u16,
) -> Result<Waiting> {
    let (live, limit) = (broker.ensure_declared(context).await?, broker.options.call_timeout);
    let channel = live.open_channel(limit).await?;
    let looks = queues(broker, context, partitions)?.into_iter().map(|(name, arguments)| {
        let channel = channel.clone();
        async move {
            let options = QueueDeclareOptions::durable();
            let declare = channel.queue_declare(short(&name)?, options, arguments);
            call(limit, &format!("looking into queue `{name}`"), declare).await
        }
    });
    let looked = try_join_all(looks).await;
    channel::close(&channel).await;
    Ok(looked?.into_iter().fold(Waiting::default(), |all, queue| {
        let attended = u64::from(queue.consumer_count() > 0);
        Waiting::new(all.messages + u64::from(queue.message_count()), all.attended + attended)
    }))
}

/// Deletes the queues of the partitions of this number.
pub(super) async fn delete(
    broker: &Arc<Broker>,
    context: &ContextName,
    partitions: u16,
) -> Result<()> {
    let (live, limit) = (broker.ensure_declared(context).await?, broker.options.call_timeout);
    let channel = live.open_channel(limit).await?;
    let mut deleted = Ok(());
    for (name, _) in queues(broker, context, partitions)? {
        let delete = channel.queue_delete(short(&name)?, QueueDeleteOptions::default());
        deleted = call(limit, &format!("deleting queue `{name}`"), delete).await.map(drop);
        if deleted.is_err() {
            break;
        }
    }
    channel::close(&channel).await;
    deleted
}

fn queues(
    broker: &Broker,
    context: &ContextName,
    partitions: u16,
) -> Result<Vec<(String, FieldTable)>> {
    let (layout, limit) = (&broker.options.layout, broker.options.delivery_limit);
    let queue = |partition| layout.partition_queue(context, partition, limit);
    Ok(Partition::all(partitions)?.into_iter().filter_map(queue).collect())
}
