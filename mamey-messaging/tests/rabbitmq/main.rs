//! The transport over RabbitMQ, on a real broker.
#![cfg(feature = "rabbitmq")]
#![expect(clippy::unwrap_used, reason = "a failure must end the test")]

mod addresses;
mod conformance;
mod faults;
mod foreign;
mod limit;
mod logs;
mod messages;
mod owner;
mod partitions;
mod predefined;
mod rejected;
mod requests;
mod tls;
mod topology;
mod world;
