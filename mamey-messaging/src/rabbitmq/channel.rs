//! One channel of a connection: publishing with confirms, consuming, and closing in order.

use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer, PublisherConfirm};
use mamey_core::Result;

use super::connection::Live;
use super::error::call;

/// How long closing in order may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A message as it goes out.
pub(super) struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// Opens a channel on which the broker confirms each publish.
///
/// # Errors
/// `Unavailable`.
pub(super) async fn with_confirms(live: &Live, limit: Duration) -> Result<Channel> {
    let channel = live.open_channel(limit).await?;
    let selected = channel.confirm_select(ConfirmSelectOptions::default());
    call(limit, "asking for confirms", selected).await?;
    Ok(channel)
}

/// Publishes on a channel with no other user.
pub(super) async fn publish(
    channel: &Channel,
    outgoing: &Outgoing,
    mandatory: bool,
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory, immediate: false };
    channel
        .basic_publish(
            outgoing.exchange.clone(),
            outgoing.routing_key.clone(),
            options,
            &outgoing.body,
            outgoing.properties.clone(),
        )
        .await
}

/// Publishes on a channel that others publish on too.
///
/// The driver counts a publish and then queues it. Another publish in between would swap the two
/// numbers that tell which confirm belongs to which message, so each takes its turn.
pub(super) async fn publish_in_turn(
    channel: &Channel,
    turn: &Mutex<()>,
    outgoing: &Outgoing,
    mandatory: bool,
) -> lapin::Result<PublisherConfirm> {
    let mut publishing = pin!(publish(channel, outgoing, mandatory));
    let first = std::future::poll_fn(|cx| {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(Pin::as_mut(&mut publishing).poll(cx))
    });
    match first.await {
        Poll::Ready(published) => published,
        Poll::Pending => publishing.await,
    }
}

/// Begins to receive from a queue, with at most `prefetch` messages unacknowledged.
pub(super) async fn consume(
    channel: &Channel,
    queue: ShortString,
    prefetch: u16,
) -> lapin::Result<Consumer> {
    // A prefetch of 0 would mean no bound.
    channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue, "".into(), options, none).await
}

/// Closes a channel in order: what it left unacknowledged goes back to its place in the queue.
pub(super) async fn close(channel: &Channel) {
    // A channel that is lost or silent ends with its connection.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, channel.close(200, "OK".into())).await;
}
