//! What stands for ids, texts and times of other systems that cannot be used as they came.

use std::borrow::Cow;

use uuid::Uuid;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::id::MessageId;
use crate::message::attribute::FOREIGN_ID;
use crate::message::correlation_id::prints_as;
use crate::message::{ATTRIBUTE_BYTES_MAX, CORRELATION_ID_BYTES_MAX, CorrelationId, Metadata};

/// The id of a message: its own, or one that follows from source and id when that is no UUID.
pub(super) fn message_id(source: &str, id: &str) -> MessageId {
    id.parse().unwrap_or_else(|_| MessageId::from_foreign(source, id))
}

/// What stands for a text that is too long: always the same for the same text, so that keys keep
/// their order and tenants stay apart.
pub(super) fn short_form(text: &str) -> String {
    format!("long-{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
}

/// A sender from outside, in its short form if it is too long.
pub(super) fn sender(source: &str) -> Cow<'_, str> {
    if source.len() > ATTRIBUTE_BYTES_MAX {
        return short_form(source).into();
    }
    source.into()
}

/// Whether a time in RFC 3339 loses something as a [`Timestamp`]: digits after the sixth, or a leap
/// second.
pub(super) fn is_finer_than_micros(time: &str) -> bool {
    let fraction = time.get(19..).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
    let mut digits = fraction.bytes().take_while(u8::is_ascii_digit).skip(6);
    let is_rfc3339 = !time.ends_with("us");
    is_rfc3339 && (time.get(17..19) == Some("60") || digits.any(|digit| digit != b'0'))
}

/// A correlation or causation id from outside, in its short form if it is too long.
pub(super) fn correlation_id(text: &str) -> Option<CorrelationId> {
    let too_long = text.len() > CORRELATION_ID_BYTES_MAX;
    let id =
        if too_long { CorrelationId::new(&short_form(text)) } else { CorrelationId::new(text) };
    id.ok()
}

/// The time of a message that does not say when it was sent: that in its id if it is of version 7,
/// else now.
pub(super) fn receipt_time(id: MessageId) -> Timestamp {
    let (seconds, nanos) = match id.as_uuid().get_timestamp() {
        Some(time) if id.as_uuid().get_version_num() == 7 => time.to_unix(),
        _ => return SystemClock.now(),
    };
    let micros = i64::try_from(seconds).ok().and_then(|it| it.checked_mul(1_000_000));
    micros.map_or_else(
        || SystemClock.now(),
        |micros| Timestamp::from_micros(micros + i64::from(nanos / 1000)),
    )
}

impl Metadata {
    /// The id as its sender wrote it: what other messages name when they refer to this one.
    ///
    /// It is the text of [`Metadata::id`], unless the message came from a system whose ids are no
    /// UUIDs.
    #[must_use]
    pub fn id_as_sent(&self) -> CorrelationId {
        self.foreign_id().and_then(correlation_id).unwrap_or_else(|| self.id.into())
    }

    /// The id as its sender wrote it, if that is not how we write it.
    pub(in crate::message) fn foreign_id(&self) -> Option<&str> {
        if self.headers.is_empty() {
            return None;
        }
        let is_this =
            |text: &&str| !prints_as(self.id, text) && message_id(&self.sender, text) == self.id;
        self.headers.get(FOREIGN_ID).filter(is_this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{IdSource, UuidV7Source};

    #[test]
    fn the_time_of_a_message_without_one_is_that_of_its_id_or_now() {
        let now = SystemClock.now();
        let id = UuidV7Source::default().message_id();
        let off = receipt_time(id).as_millis() - now.as_millis();
        assert!((0..60_000).contains(&off), "{off}");
        let id: MessageId = "0190f5d6-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(receipt_time(id).to_string(), "2024-07-27T20:16:01.024000Z");
        assert!(receipt_time(MessageId::from_foreign("shop", "A-1")) >= now);
    }

    #[test]
    fn a_message_is_referred_to_as_its_sender_wrote_it() {
        let foreign = MessageId::from_foreign("shop", "A-1");
        let mut metadata = Metadata::new(foreign, "shop.sold", "shop");
        assert_eq!(metadata.id_as_sent(), foreign);
        metadata.headers.insert(FOREIGN_ID, "A-1").unwrap();
        assert_eq!(metadata.id_as_sent().to_string(), "A-1");
        metadata.sender = "till".into();
        assert_eq!(metadata.id_as_sent(), foreign, "it does not follow from this text");
    }
}
