//! Where the brokers are, and the limits of talking to them.

use std::fmt;
use std::time::Duration;

use lapin::uri::AMQPUri;
use mamey_core::message::{BODY_BYTES_MAX, ContextName, Metadata, Partition};
use mamey_core::transport::Topology;
use mamey_core::{Error, Result, redact_url};

use super::topology::{self, RabbitPlan, RabbitPredefined};
use crate::limits;

/// After how many deliveries in vain the broker gives a message up.
const DELIVERY_LIMIT: u16 = 100;

/// After how many at most a message is no longer handled: each may have ended a process.
const DELIVERIES_IN_VAIN_MAX: u32 = 10;

/// How messages are written for RabbitMQ. All three forms are read, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RabbitForm {
    /// CloudEvents in binary mode: attributes in headers, the payload as the body.
    #[default]
    CloudEventsBinary,
    /// CloudEvents in structured mode: one JSON body.
    CloudEventsJson,
    /// The plain form `{sender, target, type, payload}`.
    Plain,
}

/// Where the brokers are, and the limits of talking to them.
#[derive(Clone)]
pub struct RabbitOptions {
    urls: Vec<RabbitUrl>,
    /// The topic exchange that every message is published to. Default: `mamey`.
    pub exchange: String,
    /// Exchanges and queues that others have made; then nothing is declared, and `exchange` is not
    /// used. Default: none.
    pub predefined: Option<RabbitPredefined>,
    /// How messages are written. Default: CloudEvents in binary mode.
    pub form: RabbitForm,
    /// The largest body, in bytes; no larger than the broker's `max_message_size`. Default: 16 MiB.
    pub message_bytes_max: usize,
    /// After how long a silent connection counts as lost, about. Default: 10 s.
    pub heartbeat: Duration,
    /// How long to try one broker. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long a call other than a publish may take. Default: 10 s.
    pub call_timeout: Duration,
    /// How long a publish may take, waiting for room and for a broker that blocks publishers
    /// included. Default: 30 s.
    pub publish_timeout: Duration,
    /// How many messages may be unconfirmed at a time; further publishes wait. Default: 1024.
    pub unconfirmed_max: usize,
    /// How many messages that must be routed may be unconfirmed at a time: each has a channel of
    /// its own meanwhile, so that the broker's answer is surely about it. Default: 64.
    pub must_route_channels_max: usize,
    /// After how many deliveries in vain the broker gives a message up, 1 to 65535: partition queues
    /// are declared so. Of queues that others have made it says what they are set to; RabbitMQ 4
    /// sets 20 where nobody does. Default: 100.
    ///
    /// A message is parked in the store before, after half as many deliveries and after 10 at most.
    /// Deliveries are in vain whose process ended, whatever it was that ended it.
    pub delivery_limit: u16,
    /// Certificates to trust beside the system's, as PEM. Default: none.
    pub trusted_certificates: Option<String>,
}

/// One broker's URL, whose secrets do not print.
#[derive(Clone)]
pub(super) struct RabbitUrl {
    pub(super) uri: AMQPUri,
    /// Host, port and virtual host.
    pub(super) place: String,
}

impl RabbitOptions {
    /// The defaults for one `amqp://` or `amqps://` URL, or for several of one cluster, separated
    /// by commas: they are tried in turn.
    ///
    /// `amqp://user:password@host:port/vhost`; without a path the virtual host is `/`. Characters
    /// with a meaning in URLs are percent-encoded.
    ///
    /// # Errors
    /// `Misconfigured` for a URL of another form, without its secrets.
    pub fn new(urls: &str) -> Result<Self> {
        let urls = urls.split(',').map(|url| RabbitUrl::parse(url.trim(), urls));
        Ok(Self {
            urls: urls.collect::<Result<_>>()?,
            exchange: "mamey".to_owned(),
            predefined: None,
            form: RabbitForm::default(),
            message_bytes_max: BODY_BYTES_MAX,
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(30),
            unconfirmed_max: 1024,
            must_route_channels_max: 64,
            delivery_limit: DELIVERY_LIMIT,
            trusted_certificates: None,
        })
    }

    pub(super) fn urls(&self) -> &[RabbitUrl] {
        &self.urls
    }

    pub(super) fn check(&self) -> Result<()> {
        limits::duration("connect_timeout", self.connect_timeout)?;
        limits::duration("call_timeout", self.call_timeout)?;
        limits::duration("publish_timeout", self.publish_timeout)?;
        limits::count("unconfirmed_max", self.unconfirmed_max)?;
        limits::count("must_route_channels_max", self.must_route_channels_max)?;
        limits::count("message_bytes_max", self.message_bytes_max)?;
        limits::count("delivery_limit", usize::from(self.delivery_limit))?;
        match &self.predefined {
            Some(predefined) => predefined.check(),
            None => self.check_exchange(),
        }
    }

    /// The exchange that messages are published to.
    pub(super) fn target_exchange(&self) -> &str {
        self.predefined.as_ref().map_or(self.exchange.as_str(), RabbitPredefined::exchange)
    }

    pub(super) fn routing_key(&self, metadata: &Metadata) -> String {
        match &self.predefined {
            Some(predefined) => predefined.routing_key(metadata),
            None => topology::routing_key(metadata),
        }
    }

    /// The queue of a partition.
    pub(super) fn queue(&self, context: &ContextName, partition: Partition) -> Result<String> {
        match &self.predefined {
            Some(predefined) => predefined.queue(context, partition),
            None => Ok(topology::queue(context, partition)),
        }
    }

    /// The queue of a context's dead letters.
    pub(super) fn dead_letters(&self, context: &ContextName) -> Result<String> {
        match &self.predefined {
            Some(predefined) => predefined.queues(context).map(|(_, dead)| dead.to_owned()),
            None => Ok(topology::dead_letters(context)),
        }
    }

    /// What a context needs on the broker.
    pub(super) fn plan(&self, topology: &Topology) -> Result<RabbitPlan> {
        match &self.predefined {
            Some(predefined) => RabbitPlan::predefined(predefined, topology),
            None => RabbitPlan::new(&self.exchange, topology, self.delivery_limit),
        }
    }

    /// Whether a message that was delivered so often in vain is parked instead of handled.
    pub(super) fn is_near_limit(&self, deliveries: u32) -> bool {
        let half = u32::from(self.delivery_limit).div_ceil(2);
        deliveries >= half.min(DELIVERIES_IN_VAIN_MAX)
    }

    fn check_exchange(&self) -> Result<()> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let name = &self.exchange;
        let ours = [".input", ".dead"].iter().any(|end| name.ends_with(end));
        if (1..=100).contains(&name.len()) && name.bytes().all(fits) && !ours {
            return Ok(());
        }
        Err(Error::misconfigured(format!(
            "`{name}` cannot be the exchange: use 1 to 100 letters, digits, `-`, `_`, `.` and \
             `:`, and no end that contexts use (`.input`, `.dead`)"
        )))
    }
}

impl RabbitUrl {
    /// Reads one of all the URLs. A password may hold a comma that was not percent-encoded, so a
    /// part alone does not show where a password ends: errors show all, redacted, and not
    /// the driver's words, which may repeat the part.
    fn parse(url: &str, all: &str) -> Result<Self> {
        let uri: AMQPUri = url.parse().map_err(|_| {
            Error::misconfigured(format!(
                "`{}` is no URL of RabbitMQ; use amqp://user:password@host:port/vhost, with a \
                 number as the port, %2F for a slash in the virtual host and %2C for a comma",
                redact_url(all)
            ))
        })?;
        let (scheme, authority) = (&uri.scheme, &uri.authority);
        let place = format!("{scheme}://{}:{}/{}", authority.host, authority.port, uri.vhost);
        Ok(Self { uri, place })
    }
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<&str> = self.urls.iter().map(|url| url.place.as_str()).collect();
        f.debug_struct("RabbitOptions")
            .field("urls", &places)
            .field("exchange", &self.exchange)
            .field("form", &self.form)
            .field("unconfirmed_max", &self.unconfirmed_max)
            .field("must_route_channels_max", &self.must_route_channels_max)
            .field("delivery_limit", &self.delivery_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_urls_are_taken_and_no_secret_prints() {
        let options =
            RabbitOptions::new("amqp://app:s3cret@one:5673/shop, amqps://app:s3cret@two").unwrap();
        let shown = format!("{options:?}");
        assert!(shown.contains("one:5673/shop") && shown.contains("two:5671"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn urls_of_another_form_are_refused_without_their_secrets() {
        for url in
            ["http://app:s3cret@host", "amqp://app:s3cret@host:port", "amqp//app:s3cret@h", ""]
        {
            let error = RabbitOptions::new(url).unwrap_err().to_string();
            assert!(error.contains("amqp://user:password@host"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn messages_are_parked_before_the_broker_gives_them_up() {
        let mut options = RabbitOptions::new("amqp://host").unwrap();
        for (limit, parked_from) in [(1, 1), (2, 1), (3, 2), (20, 10), (100, 10), (65_535, 10)] {
            options.delivery_limit = limit;
            assert!(options.check().is_ok());
            assert!(!options.is_near_limit(parked_from - 1), "{limit}");
            assert!(options.is_near_limit(parked_from), "{limit}");
        }
        options.delivery_limit = 0;
        assert!(options.check().is_err());
    }

    #[test]
    fn an_exchange_that_would_clash_is_refused() {
        for name in ["", "payments.input", "payments.dead", "a b", &"x".repeat(101)] {
            let mut options = RabbitOptions::new("amqp://host").unwrap();
            name.clone_into(&mut options.exchange);
            assert!(options.check().is_err(), "{name}");
        }
        assert!(RabbitOptions::new("amqp://host").unwrap().check().is_ok());
    }
}
