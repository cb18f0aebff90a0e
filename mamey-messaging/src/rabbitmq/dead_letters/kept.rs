//! A dead letter as it lies on the broker: what it was, and why it is there.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey_core::clock::Timestamp;
use mamey_core::message::ContextName;
use mamey_core::transport::{RejectReason, RejectedId, RejectedMessage};

use super::{AT, DETAIL, EXCHANGE, ID, OURS, PLACE, REASON, ROUTING_KEY};
use crate::rabbitmq::wire::text;

/// What the broker adds when it gives a message up or delivers it again.
const OF_BROKER: [&str; 5] =
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count"];

/// What differs from one look to the next.
const COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// The parts of `x-death` that say where a message comes from.
const DEATHS: &str = "x-death";
const FIRST_REASON: &str = "x-first-death-reason";
const FIRST_QUEUE: &str = "x-first-death-queue";

/// The broker's reason for a message that it delivered too often.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// A dead letter on the broker.
pub(super) struct Kept(Delivery);

impl Kept {
    pub(super) const fn new(delivery: Delivery) -> Self {
        Self(delivery)
    }

    pub(super) const fn tag(&self) -> u64 {
        self.0.delivery_tag
    }

    /// The id that it was kept with. One that the broker gave up has none: its bytes and headers
    /// stand for it, which say when that was.
    pub(super) fn id(&self) -> RejectedId {
        let given = self.text(ID).and_then(|id| id.parse().ok());
        given.unwrap_or_else(|| {
            let headers = format!("{:?}", self.without(|name| COUNTS.contains(&name)));
            RejectedId::derived(&[headers.as_bytes(), &self.0.data].concat())
        })
    }

    /// The queue in which it was.
    pub(super) fn place(&self) -> String {
        self.text(PLACE).or_else(|| self.text(FIRST_QUEUE)).unwrap_or_default()
    }

    /// The routing key with which it was published.
    pub(super) fn routing_key(&self) -> String {
        let keys = || match self.death()?.inner().get("routing-keys")? {
            AMQPValue::FieldArray(keys) => keys.as_slice().first().and_then(text),
            _ => None,
        };
        self.text(ROUTING_KEY).or_else(keys).unwrap_or_default()
    }

    pub(super) fn body(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.data)
    }

    /// The properties that it was published with. Where it came from stays, because a replay goes
    /// directly into a queue.
    pub(super) fn original_properties(&self) -> BasicProperties {
        let mut headers = self.without(|name| {
            OURS.contains(&name) || OF_BROKER.iter().any(|ours| name.starts_with(ours))
        });
        for (name, value) in [(ROUTING_KEY, self.routing_key()), (EXCHANGE, self.exchange())] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        self.0.properties.clone().with_headers(headers)
    }

    /// What an operator sees.
    pub(super) fn into_rejected(self, context: &ContextName) -> RejectedMessage {
        let (id, place, headers) = (self.id(), self.place(), self.listed_headers());
        let (reason, detail, at) = (self.reason(), self.detail(), self.rejected_at());
        RejectedMessage::new(id, context.clone(), reason, Bytes::from(self.0.data))
            .with_place(place)
            .with_detail(detail)
            .with_rejected_at(at)
            .with_headers(headers)
    }

    fn reason(&self) -> RejectReason {
        let given = self.text(REASON).and_then(|code| RejectReason::parse(&code));
        given.unwrap_or_else(|| match self.text(FIRST_REASON).as_deref() {
            Some(DELIVERY_LIMIT) => RejectReason::DeliveryLimit,
            _ => RejectReason::Unknown,
        })
    }

    fn detail(&self) -> String {
        self.text(DETAIL).unwrap_or_else(|| match self.text(FIRST_REASON) {
            Some(reason) => format!("the broker gave it up: {reason}"),
            None => "it was published to the dead letters by somebody else".to_owned(),
        })
    }

    fn rejected_at(&self) -> Option<Timestamp> {
        let given = self.text(AT).and_then(|at| Timestamp::parse_rfc3339(&at).ok());
        given.or_else(|| match self.death()?.inner().get("time")? {
            AMQPValue::Timestamp(seconds) => {
                Some(Timestamp::from_micros(i64::try_from(*seconds).ok()?.checked_mul(1_000_000)?))
            }
            _ => None,
        })
    }

    fn exchange(&self) -> String {
        let death = || text(self.death()?.inner().get("exchange")?);
        self.text(EXCHANGE).or_else(death).unwrap_or_default()
    }

    /// Why and when the broker gave it up last.
    fn death(&self) -> Option<&FieldTable> {
        match self.headers()?.inner().get(DEATHS)? {
            AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
                AMQPValue::FieldTable(death) => Some(death),
                _ => None,
            },
            _ => None,
        }
    }

    /// Properties and headers as text; what has no text is shown as its type has it.
    fn listed_headers(&self) -> Vec<(String, String)> {
        let properties = &self.0.properties;
        let own = [
            ("content-type", properties.content_type()),
            ("content-encoding", properties.content_encoding()),
            ("correlation-id", properties.correlation_id()),
            ("message-id", properties.message_id()),
            ("type", properties.kind()),
            ("app-id", properties.app_id()),
        ];
        let own = own.into_iter().filter_map(|(name, value)| {
            Some((name.to_owned(), value.as_ref().map(ShortString::as_str)?.to_owned()))
        });
        let came = [("exchange".to_owned(), self.exchange())];
        let came = came.into_iter().chain([("routing-key".to_owned(), self.routing_key())]);
        let headers = self.without(|name| {
            OURS.contains(&name)
                || [EXCHANGE, ROUTING_KEY].contains(&name)
                || OF_BROKER.iter().any(|of_broker| name.starts_with(of_broker))
        });
        let headers = headers.inner().iter().map(|(name, value)| {
            (name.to_string(), text(value).unwrap_or_else(|| format!("{value:?}")))
        });
        own.chain(came).chain(headers.collect::<Vec<_>>()).collect()
    }

    fn headers(&self) -> Option<&FieldTable> {
        self.0.properties.headers().as_ref()
    }

    fn text(&self, name: &str) -> Option<String> {
        text(self.headers()?.inner().get(name)?)
    }

    /// The headers but those that are unwanted.
    fn without(&self, unwanted: impl Fn(&str) -> bool) -> FieldTable {
        let mut headers = FieldTable::default();
        for (name, value) in self.headers().into_iter().flat_map(FieldTable::inner) {
            if !unwanted(name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers
    }
}
