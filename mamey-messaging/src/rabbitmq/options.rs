//! The limits of talking to RabbitMQ, and how messages are written and routed there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::connection::CredentialSource;
use mamey_core::message::BODY_BYTES_MAX;
use mamey_core::{Error, Result};

use super::topology::{Layout, RabbitPredefined};
use super::wire::RabbitEncoding;
use crate::limits;

/// The exchange that messages are published to, unless said otherwise.
const EXCHANGE: &str = "mamey";

/// After how many failed deliveries the broker gives a message up.
const DELIVERY_LIMIT: u16 = 100;

/// After how many failed deliveries at most a message is no longer handled: each may have ended a
/// process.
const FAILED_DELIVERIES_MAX: u32 = 10;

/// The limits of talking to RabbitMQ, and how messages are written and routed there.
///
/// ```no_run
/// use mamey::messaging::{RabbitEncoding, RabbitOptions, RabbitTransport};
///
/// # async fn connect() -> mamey::Result<()> {
/// let options = RabbitOptions::default()
///     .with_exchange("shop")
///     .with_encoding(RabbitEncoding::CloudEventsJson)
///     .with_delivery_limit(20);
/// let url = "amqps://app:secret@one.example/shop,amqps://app:secret@two.example/shop";
/// let transport = RabbitTransport::connect(url, options).await?;
/// # drop(transport);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RabbitOptions {
    pub(super) layout: Layout,
    /// How messages are written. Default: CloudEvents in binary mode.
    pub encoding: RabbitEncoding,
    /// The largest body, in bytes; no larger than the broker's `max_message_size`. Default: 16 MiB.
    pub message_bytes_max: usize,
    /// After how long a silent connection counts as lost, about; whole seconds, 1 to 65535.
    /// Default: 10 s.
    pub heartbeat: Duration,
    /// How long to try one broker. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long a call other than a publish may take. Default: 10 s.
    pub call_timeout: Duration,
    /// How long a publish may take, including the wait for a place among the unconfirmed and for a
    /// broker that blocks publishers. Default: 30 s.
    pub publish_timeout: Duration,
    /// How many messages may be unconfirmed at a time; further publishes wait. Default: 1024.
    pub unconfirmed_max: usize,
    /// How many messages that must be routed may be unconfirmed at a time. Each has a channel of its
    /// own meanwhile, so that the broker's answer is certainly about it. Default: 64.
    pub must_route_channels_max: usize,
    /// After how many failed deliveries the broker gives a message up, 1 to 65535. Partition queues
    /// are declared with it. For queues that others have made it says what they are set to, which
    /// is 20 on RabbitMQ 4 if nothing else was set. Default: 100.
    ///
    /// A message is parked in the store earlier: after half as many failed deliveries, and after 10
    /// at most. A delivery failed when the process that received it ended, lost its connection or
    /// returned it; which of them counts against the message, parking finds out. A store that keeps
    /// nothing beyond the process leaves it to the broker's dead letters.
    pub delivery_limit: u16,
    /// Certificates to trust beside the system's, as PEM. Default: none.
    pub trusted_certificates: Option<String>,
    pub(super) client_certificate: Option<Arc<ClientCertificate>>,
    pub(super) credentials: Option<Arc<dyn CredentialSource>>,
}

impl RabbitOptions {
    /// Publishes every message to this topic exchange, which is declared with all that contexts
    /// need. Default: `mamey`.
    ///
    /// It replaces [`with_predefined`](Self::with_predefined).
    #[must_use]
    pub fn with_exchange(mut self, exchange: impl Into<String>) -> Self {
        self.layout = Layout::own(exchange);
        self
    }

    /// Uses exchanges and queues that others have made; then nothing is declared. Default: none.
    ///
    /// It replaces [`with_exchange`](Self::with_exchange).
    #[must_use]
    pub fn with_predefined(mut self, predefined: RabbitPredefined) -> Self {
        self.layout = Layout::Predefined(predefined);
        self
    }

    /// Sets [`encoding`](Self::encoding).
    #[must_use]
    pub const fn with_encoding(mut self, encoding: RabbitEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sets [`message_bytes_max`](Self::message_bytes_max).
    #[must_use]
    pub const fn with_message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat).
    #[must_use]
    pub const fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub const fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets [`call_timeout`](Self::call_timeout).
    #[must_use]
    pub const fn with_call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = limit;
        self
    }

    /// Sets [`publish_timeout`](Self::publish_timeout).
    #[must_use]
    pub const fn with_publish_timeout(mut self, limit: Duration) -> Self {
        self.publish_timeout = limit;
        self
    }

    /// Sets [`unconfirmed_max`](Self::unconfirmed_max).
    #[must_use]
    pub const fn with_unconfirmed_max(mut self, messages: usize) -> Self {
        self.unconfirmed_max = messages;
        self
    }

    /// Sets [`must_route_channels_max`](Self::must_route_channels_max).
    #[must_use]
    pub const fn with_must_route_channels_max(mut self, channels: usize) -> Self {
        self.must_route_channels_max = channels;
        self
    }

    /// Sets [`delivery_limit`](Self::delivery_limit).
    #[must_use]
    pub const fn with_delivery_limit(mut self, deliveries: u16) -> Self {
        self.delivery_limit = deliveries;
        self
    }

    /// Sets [`trusted_certificates`](Self::trusted_certificates).
    #[must_use]
    pub fn with_trusted_certificates(mut self, pem: impl Into<String>) -> Self {
        self.trusted_certificates = Some(pem.into());
        self
    }

    /// Shows this certificate to a broker that asks for one; both as PEM, the key in PKCS#8 and
    /// not encrypted. `certfile` and `keyfile` of a URL replace it. Default: none.
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        certificate: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        self.client_certificate = Some(Arc::new(ClientCertificate { certificate, key }));
        self
    }

    /// Asks for user and password each time a connection is made. `password_file` of a URL
    /// replaces it. Default: those in the URL.
    #[must_use]
    pub fn with_credentials(mut self, source: impl CredentialSource) -> Self {
        self.credentials = Some(Arc::new(source));
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        heartbeat_seconds(self.heartbeat)?;
        limits::duration("connect_timeout", self.connect_timeout)?;
        limits::duration("call_timeout", self.call_timeout)?;
        limits::duration("publish_timeout", self.publish_timeout)?;
        limits::count("unconfirmed_max", self.unconfirmed_max)?;
        limits::count("must_route_channels_max", self.must_route_channels_max)?;
        limits::count("message_bytes_max", self.message_bytes_max)?;
        limits::count("delivery_limit", usize::from(self.delivery_limit))?;
        self.layout.check()
    }

    /// Whether a message whose delivery failed so often is parked instead of handled.
    pub(super) fn is_near_limit(&self, failed_deliveries: u32) -> bool {
        let half = u32::from(self.delivery_limit).div_ceil(2);
        failed_deliveries >= half.min(FAILED_DELIVERIES_MAX)
    }
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self {
            layout: Layout::own(EXCHANGE),
            encoding: RabbitEncoding::default(),
            message_bytes_max: BODY_BYTES_MAX,
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(30),
            unconfirmed_max: 1024,
            must_route_channels_max: 64,
            delivery_limit: DELIVERY_LIMIT,
            trusted_certificates: None,
            client_certificate: None,
            credentials: None,
        }
    }
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitOptions")
            .field("layout", &self.layout)
            .field("encoding", &self.encoding)
            .field("unconfirmed_max", &self.unconfirmed_max)
            .field("must_route_channels_max", &self.must_route_channels_max)
            .field("delivery_limit", &self.delivery_limit)
            .finish_non_exhaustive()
    }
}

/// The driver counts heartbeats in seconds and takes 0 for none.
pub(super) fn heartbeat_seconds(heartbeat: Duration) -> Result<u16> {
    let seconds = u16::try_from(heartbeat.as_secs()).ok().filter(|seconds| *seconds > 0);
    seconds.filter(|_| heartbeat.subsec_nanos() == 0).ok_or_else(|| {
        Error::misconfigured(format!(
            "`heartbeat` is {heartbeat:?}; it must be whole seconds from 1 to {}",
            u16::MAX
        ))
    })
}

/// A certificate and its key, as PEM. The key does not print.
pub(super) struct ClientCertificate {
    pub(super) certificate: String,
    pub(super) key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_parked_before_the_broker_gives_them_up() {
        for (limit, parked_from) in [(1, 1), (2, 1), (3, 2), (20, 10), (100, 10), (65_535, 10)] {
            let options = RabbitOptions::default().with_delivery_limit(limit);
            assert!(options.check().is_ok());
            assert!(!options.is_near_limit(parked_from - 1), "{limit}");
            assert!(options.is_near_limit(parked_from), "{limit}");
        }
        assert!(RabbitOptions::default().with_delivery_limit(0).check().is_err());
    }

    #[test]
    fn a_heartbeat_that_would_become_another_is_refused() {
        for heartbeat in [
            Duration::ZERO,
            Duration::from_millis(500),
            Duration::from_millis(1500),
            Duration::from_secs(65_536),
            Duration::MAX,
        ] {
            let error = RabbitOptions::default().with_heartbeat(heartbeat).check().unwrap_err();
            assert!(error.to_string().contains("`heartbeat`"), "{error}");
        }
        for seconds in [1, 65_535] {
            let heartbeat = Duration::from_secs(seconds);
            assert!(RabbitOptions::default().with_heartbeat(heartbeat).check().is_ok());
        }
    }

    #[test]
    fn an_exchange_that_would_clash_is_refused() {
        assert!(RabbitOptions::default().with_exchange("payments.input").check().is_err());
        assert!(RabbitOptions::default().check().is_ok());
    }
}
