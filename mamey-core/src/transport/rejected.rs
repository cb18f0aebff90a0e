//! The port to rejected messages: what a context could neither read nor keep in its store.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::message::ContextName;
use crate::{Error, ErrorKind, Result};

/// How many rejected messages one call lists, replays or discards.
pub const REJECTED_PAGE_MAX: u32 = 1000;

/// How many bytes of payload one call lists; a single message may be larger: 64 MiB.
pub const REJECTED_PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Lists, replays and discards the messages of one context that could neither be read nor kept in
/// its store, for operators and their tools.
///
/// They wait with the transport, with their bytes and the reason, until an operator decides. What
/// was read and then failed is a [dead letter](crate::store::DeadLetterStore) of the store instead.
#[async_trait]
pub trait RejectedMessages: Send + Sync + 'static {
    /// Up to `limit` rejected messages after the one with the id `after`, in the order in which they
    /// were rejected; from the first one when `after` is gone, so that a loop may replay or discard
    /// while it reads. A page ends early at [`REJECTED_PAGE_BYTES_MAX`]; an empty one is the last.
    ///
    /// On a broker, each call looks at all of them, to keep their order: some thousand take seconds.
    /// Two lists of one context at the same time, by different instances, may each miss what the
    /// other looks at.
    ///
    /// # Errors
    /// `Invalid` for a limit above [`REJECTED_PAGE_MAX`], `Unavailable`.
    ///
    /// # Cancellation
    /// Safe: what it looked at stays where it is.
    async fn list(&self, after: Option<RejectedId>, limit: u32) -> Result<Vec<RejectedMessage>>;

    /// Hands them to the same context again, and to no other, and returns how many these were. One
    /// that is rejected again is listed again, with a new id.
    ///
    /// # Errors
    /// `Invalid` for more than [`REJECTED_PAGE_MAX`] ids, `Unavailable`. Some may have been replayed;
    /// the others are still listed, and repeating the call is safe.
    ///
    /// # Cancellation
    /// As after an error. A message may be delivered and stay listed; the inbox absorbs its second
    /// replay.
    async fn replay(&self, ids: &[RejectedId]) -> Result<u64>;

    /// Deletes them, and returns how many these were.
    ///
    /// # Errors
    /// As [`RejectedMessages::replay`].
    async fn discard(&self, ids: &[RejectedId]) -> Result<u64>;

    /// How many wait.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn count(&self) -> Result<u64>;

    /// What this process has rejected since it started. What a broker gives up by itself is listed,
    /// not counted here.
    fn totals(&self) -> RejectedTotals;
}

/// Why a message was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RejectReason {
    /// Its bytes are no message of an encoding that is read here.
    Undecodable,
    /// It is of a kind that this build does not read.
    Unsupported,
    /// It exceeds a limit of the receiver.
    OverLimit,
    /// The context's store can never keep it.
    Unstorable,
    /// It was delivered as often as the broker allows, and no delivery was settled.
    DeliveryLimit,
    /// Another build's reason, or another system's; the text beside it says more.
    Unknown,
}

impl RejectReason {
    /// The reason's stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Unsupported => "unsupported",
            Self::OverLimit => "over-limit",
            Self::Unstorable => "unstorable",
            Self::DeliveryLimit => "delivery-limit",
            Self::Unknown => "unknown",
        }
    }

    /// The reason of this stable code, if this build knows it.
    ///
    /// ```
    /// use mamey::transport::RejectReason;
    ///
    /// assert_eq!(RejectReason::parse("over-limit"), Some(RejectReason::OverLimit));
    /// assert_eq!(RejectReason::parse("out of fashion"), None);
    /// ```
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let known = [
            Self::Undecodable,
            Self::Unsupported,
            Self::OverLimit,
            Self::Unstorable,
            Self::DeliveryLimit,
        ];
        known.into_iter().find(|reason| reason.as_str() == code)
    }

    /// Why a message that could not be decoded is rejected.
    #[must_use]
    pub fn of_decoding(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::LimitExceeded => Self::OverLimit,
            ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Undecodable,
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which rejected message. It is not the message's own id, which may be what cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RejectedId(Uuid);

impl RejectedId {
    /// The id that a transport gave or derived.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }
}

impl RejectedId {
    /// The id of a message that was given none: the same content always has the same.
    #[must_use]
    pub fn derived(content: &[u8]) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, content))
    }
}

impl fmt::Display for RejectedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RejectedId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let id = Uuid::try_parse(text);
        id.map(Self).map_err(|_| Error::invalid("the id of a rejected message is a UUID"))
    }
}

/// A message that could neither be read nor kept, as it came.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedMessage {
    /// Its id among the rejected messages.
    pub id: RejectedId,
    /// The context that could not take it.
    pub context: ContextName,
    /// Where in that context's input it was, such as a queue or a partition.
    pub place: String,
    /// Why.
    pub reason: RejectReason,
    /// Why, for people.
    pub detail: String,
    /// When it was rejected, if that is known.
    pub rejected_at: Option<Timestamp>,
    /// Its headers and properties as text, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// Its body, byte for byte.
    pub payload: Bytes,
}

impl RejectedMessage {
    /// A rejected message without headers, from nowhere.
    #[must_use]
    pub fn new(id: RejectedId, context: ContextName, reason: RejectReason, payload: Bytes) -> Self {
        Self {
            id,
            context,
            place: String::new(),
            reason,
            detail: String::new(),
            rejected_at: None,
            headers: Vec::new(),
            payload,
        }
    }

    /// Where in the context's input it was.
    #[must_use]
    pub fn with_place(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }

    /// Why, for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// When it was rejected, if that is known.
    #[must_use]
    pub fn with_rejected_at(mut self, at: impl Into<Option<Timestamp>>) -> Self {
        self.rejected_at = at.into();
        self
    }

    /// Its headers and properties.
    #[must_use]
    pub fn with_headers(mut self, headers: impl IntoIterator<Item = (String, String)>) -> Self {
        self.headers = headers.into_iter().collect();
        self.headers.sort();
        self
    }
}

impl fmt::Debug for RejectedMessage {
    /// Without headers and payload, which do not belong into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectedMessage")
            .field("id", &self.id)
            .field("context", &self.context)
            .field("place", &self.place)
            .field("reason", &self.reason)
            .field("detail", &self.detail)
            .field("rejected_at", &self.rejected_at)
            .field("headers", &self.headers.len())
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// How many messages were rejected, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedTotals {
    /// [`RejectReason::Undecodable`].
    pub undecodable: u64,
    /// [`RejectReason::Unsupported`].
    pub unsupported: u64,
    /// [`RejectReason::OverLimit`].
    pub over_limit: u64,
    /// [`RejectReason::Unstorable`].
    pub unstorable: u64,
}

impl RejectedTotals {
    /// Counts one message more. A reason that no process counts changes nothing.
    pub const fn count(&mut self, reason: RejectReason) {
        match reason {
            RejectReason::Undecodable => self.undecodable += 1,
            RejectReason::Unsupported => self.unsupported += 1,
            RejectReason::OverLimit => self.over_limit += 1,
            RejectReason::Unstorable => self.unstorable += 1,
            RejectReason::DeliveryLimit | RejectReason::Unknown => {}
        }
    }

    /// Adds what another context has rejected.
    pub const fn add(&mut self, other: Self) {
        self.undecodable += other.undecodable;
        self.unsupported += other.unsupported;
        self.over_limit += other.over_limit;
        self.unstorable += other.unstorable;
    }

    /// Over all reasons.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.undecodable + self.unsupported + self.over_limit + self.unstorable
    }
}

/// Checks what a call asks for.
///
/// # Errors
/// `Invalid` for more than [`REJECTED_PAGE_MAX`] messages at a time.
pub fn check_rejected_page(messages: usize) -> Result<()> {
    if messages <= usize::try_from(REJECTED_PAGE_MAX).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{messages} rejected messages at a time are too many: ask for {REJECTED_PAGE_MAX} at most"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [RejectReason; 6] = [
        RejectReason::Undecodable,
        RejectReason::Unsupported,
        RejectReason::OverLimit,
        RejectReason::Unstorable,
        RejectReason::DeliveryLimit,
        RejectReason::Unknown,
    ];

    #[test]
    fn the_codes_are_stable_and_a_code_of_another_build_is_none_of_ours() {
        let codes = ALL.map(RejectReason::as_str);
        let stable =
            ["undecodable", "unsupported", "over-limit", "unstorable", "delivery-limit", "unknown"];
        assert_eq!(codes, stable);
        for reason in ALL {
            let read = RejectReason::parse(reason.as_str());
            assert_eq!(read, (reason != RejectReason::Unknown).then_some(reason));
        }
    }

    #[test]
    fn each_reason_that_a_process_has_is_counted_by_itself() {
        let mut totals = RejectedTotals::default();
        ALL.iter().for_each(|reason| totals.count(*reason));
        totals.add(totals);
        let RejectedTotals { undecodable, unsupported, over_limit, unstorable } = totals;
        assert_eq!([undecodable, unsupported, over_limit, unstorable], [2; 4]);
        assert_eq!(totals.all(), 8);
    }

    #[test]
    fn no_payload_and_no_header_is_printed() {
        let context = ContextName::new("payments").unwrap();
        let payload = Bytes::from_static(b"s3cret");
        let id = RejectedId::derived(b"1");
        let message = RejectedMessage::new(id, context, RejectReason::Undecodable, payload)
            .with_headers([("authorization".to_owned(), "s3cret".to_owned())]);
        assert!(!format!("{message:?}").contains("s3cret"));
        assert_eq!(id.to_string().parse::<RejectedId>().unwrap(), id);
        assert!("order-1".parse::<RejectedId>().is_err());
    }
}
