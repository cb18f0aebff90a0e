//! Moves messages between contexts: the transports, the relay and the consumer.
//!
//! | Part | What it does |
//! |---|---|
//! | [`connect`] | picks the transport that a URL names |
//! | [`MemoryTransport`] | carries messages between the contexts of one process |
//! | `RabbitTransport` | carries messages between processes over RabbitMQ (feature `rabbitmq`) |
//! | [`Relay`] | moves committed outbox records to a transport |
//! | [`Consumer`] | receives a context's messages and processes each |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod common;
mod connect;
mod consumer;
mod guard;
mod leases;
mod limits;
mod memory;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod relay;
mod reported;
mod stats;

pub use connect::{check_url, connect};
pub use consumer::{Consumer, ConsumerOptions};
pub use limits::{
    DRAIN_DEFAULT, LEASE_DEFAULT, PARTITIONS_DEFAULT, POLL_DEFAULT, UNROUTABLE_DEFAULT,
};
pub use memory::{MemoryTransport, QUEUE_MESSAGES_MAX, REJECTED_BYTES_MAX, REJECTED_MESSAGES_MAX};
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{RabbitEncoding, RabbitOptions, RabbitPlan, RabbitPredefined, RabbitTransport};
pub use relay::{Relay, RelayOptions};
pub use stats::{ConsumerSnapshot, ConsumerStats, RelaySnapshot, RelayStats};
