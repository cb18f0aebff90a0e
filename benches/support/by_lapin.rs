//! What a careful user writes with lapin: publisher confirms, persistence, CloudEvents headers.

use std::error::Error;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use mamey::message::Envelope;

/// The same exchange and queue as ours, so that the broker does the same work for both.
const EXCHANGE: &str = "mamey";
const QUEUE: &str = "bench.0";

/// A connection with a channel to publish and one to consume.
pub(crate) struct ByLapin {
    connection: Connection,
    publishing: Channel,
}

impl ByLapin {
    pub(crate) async fn connect(url: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let publishing = connection.create_channel().await?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, publishing })
    }

    /// How many messages per second are confirmed, with `window` of them unconfirmed at a time.
    pub(crate) async fn publish(
        &self,
        envelopes: Vec<Envelope>,
        window: usize,
    ) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let (count, begin) = (envelopes.len(), Instant::now());
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let publish = async |envelope: Envelope| {
            let properties = properties(&envelope);
            let metadata = &envelope.metadata;
            let key = format!("any.{}.{}", metadata.name, metadata.slot());
            let (exchange, key) = (EXCHANGE.into(), key.into());
            let sent = self.publishing.basic_publish(
                exchange,
                key,
                options,
                &envelope.payload,
                properties,
            );
            sent.await?.await
        };
        let mut confirms = std::pin::pin!(stream::iter(envelopes).map(publish).buffered(window));
        while let Some(confirmed) = confirms.next().await {
            if !confirmed?.is_ack() {
                return Err("the broker did not take a message".into());
            }
        }
        Ok(super::per_second(count, begin.elapsed()))
    }

    /// How many messages per second are read and acknowledged, half a window at once.
    pub(crate) async fn consume(
        &self,
        count: usize,
        window: usize,
    ) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let begin = Instant::now();
        let channel = self.connection.create_channel().await?;
        channel.basic_qos(window as u16, BasicQosOptions::default()).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer = channel.basic_consume(QUEUE.into(), "".into(), options, none).await?;
        for number in 1..=count {
            let delivery = consumer.next().await.ok_or("the consumer has ended")??;
            std::hint::black_box(&delivery.data);
            if number % (window / 2) == 0 || number == count {
                let options = BasicAckOptions { multiple: true };
                channel.basic_ack(delivery.delivery_tag, options).await?;
            }
        }
        let took = begin.elapsed();
        channel.close(200, "OK".into()).await?;
        Ok(super::per_second(count, took))
    }

    pub(crate) async fn close(self) -> lapin::Result<()> {
        self.connection.close(200, "OK".into()).await
    }
}

/// The same headers as ours.
fn properties(envelope: &Envelope) -> BasicProperties {
    let metadata = &envelope.metadata;
    let id = metadata.id.to_string();
    let mut headers = FieldTable::default();
    let key = metadata.key.as_ref().map(ToString::to_string).unwrap_or_default();
    for (name, value) in [
        ("cloudEvents_specversion", "1.0".to_owned()),
        ("cloudEvents_id", id.clone()),
        ("cloudEvents_source", metadata.sender.to_string()),
        ("cloudEvents_type", metadata.name.to_string()),
        ("cloudEvents_time", metadata.time.to_string()),
        ("cloudEvents_messageversion", metadata.version.to_string()),
        ("cloudEvents_correlationid", metadata.correlation_id.to_string()),
        ("cloudEvents_partitionkey", key),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(id.as_str().into())
        .with_correlation_id(id.into())
        .with_type(metadata.name.as_ref().into())
        .with_app_id(metadata.sender.as_ref().into())
        .with_headers(headers)
}
