//! The identity of a message: its sender and its id, folded into one number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant};

use super::Metadata;
use crate::{Error, Result};

/// What makes two messages the same: sender and id together, as CloudEvents defines it.
///
/// Effects happen once per identity and context, and parked messages and dead letters are known by
/// theirs. Two senders that use one id send two messages, and so do two spellings of a sender or of
/// an id: both are compared byte for byte.
///
/// It is a UUID. Of a message whose id is a UUIDv7 it is one too, of the same millisecond, so that
/// stores can keep identities by time; 74 bits are a hash. Every other identity is a hash of 121 bits
/// behind a set bit, and holds no time. The hash is SHA-1 in the form of UUIDs of version 5: nobody can
/// choose a sender and an id that get the identity of another's message. Identities are stored, so
/// that how they are computed never changes.
///
/// ```
/// use mamey::MessageId;
/// use mamey::message::Metadata;
///
/// let id: MessageId = "0190f5d6-0000-7000-8000-000000000001".parse()?;
/// let (shop, till) = (Metadata::new(id, "sold", "shop"), Metadata::new(id, "sold", "till"));
/// assert_ne!(shop.identity(), till.identity());
/// assert_eq!(shop.identity().to_string(), "0190f5d6-0000-7d67-a710-d5239e4e4e05");
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageIdentity(Uuid);

impl MessageIdentity {
    /// The identity that a store kept as this UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for MessageIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for MessageIdentity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let uuid = Uuid::try_parse(text).map_err(|cause| {
            Error::invalid(format!("`{text}` is not the identity of a message (a UUID)"))
                .with_source(cause)
        })?;
        Ok(Self(uuid))
    }
}

impl Metadata {
    /// The message's identity. It costs a hash, so compute it once where a message is received.
    #[must_use]
    pub fn identity(&self) -> MessageIdentity {
        let id = self.id.as_uuid();
        let mut hash = Uuid::new_v5(&id, self.sender.as_bytes());
        if let Some(spelling) = self.foreign_id() {
            hash = Uuid::new_v5(&hash, spelling.as_bytes());
        }
        MessageIdentity(fold(id, hash))
    }
}

/// The hash, behind the time of an id that has one.
fn fold(id: Uuid, hash: Uuid) -> Uuid {
    /// The bits of a UUIDv7 that hold its time.
    const TIME: u128 = u128::MAX << 80;
    /// The bits that hold its version, and the version.
    const VERSION: u128 = 0xf << 76;
    const VERSION_7: u128 = 7 << 76;
    /// Sorts identities without a time behind those of every day until the year 6429.
    const NO_TIME: u128 = 1 << 127;
    let is_v7 = id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122;
    Uuid::from_u128(if is_v7 {
        (id.as_u128() & TIME) | (hash.as_u128() & !TIME & !VERSION) | VERSION_7
    } else {
        hash.as_u128() | NO_TIME
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::MessageId;
    use crate::message::attribute::FOREIGN_ID;

    const V7: &str = "0190f5d6-0000-7000-8000-00000000000a";

    /// A message whose id came as this text.
    fn sent(sender: &str, text: &str) -> Metadata {
        let id = text.parse().unwrap_or_else(|_| MessageId::from_foreign(sender, text));
        let mut metadata = Metadata::new(id, "shop.sold", sender);
        if id.to_string() != text {
            metadata.headers.insert(FOREIGN_ID, text).unwrap();
        }
        metadata
    }

    fn identity(sender: &str, text: &str) -> String {
        sent(sender, text).identity().to_string()
    }

    #[test]
    fn identities_are_stored_so_they_never_change() {
        // Another value here makes stores handle once more what they have handled: never do it.
        for (sender, id, identity_of_both) in VECTORS {
            assert_eq!(identity(sender, id), identity_of_both, "{sender} {id}");
        }
    }

    const VECTORS: [(&str, &str, &str); 6] = [
        ("shop", V7, "0190f5d6-0000-785c-85d0-389e65c3ec37"),
        ("", V7, "0190f5d6-0000-735f-86a6-eb7a5a647768"),
        ("https://shop.example/a?b", V7, "0190f5d6-0000-7fc9-9099-410fe65d9f05"),
        ("shop", "0190F5D6-0000-7000-8000-00000000000A", "0190f5d6-0000-7048-a456-91661619a4a3"),
        ("shop", "4ae71336-e44b-49bf-b9d2-752e234818a5", "8ee559d1-caa1-5d9d-bcbc-26f31382ee68"),
        ("shop", "A-1", "84c38cdf-764c-5104-90e3-381f3731c079"),
    ];

    #[test]
    fn senders_and_ids_are_compared_byte_for_byte() {
        let upper = V7.to_uppercase();
        let senders = ["shop", "Shop", "shop/", "https://shop", "HTTPS://shop", "https://shop:443"];
        let ids = [V7, &upper, &V7.replace('-', ""), &format!("urn:uuid:{V7}"), "17", "A-1", "a-1"];
        let pairs = senders.iter().flat_map(|sender| ids.map(|id| identity(sender, id)));
        let distinct: std::collections::HashSet<_> = pairs.collect();
        assert_eq!(distinct.len(), senders.len() * ids.len());
    }

    #[test]
    fn a_header_that_is_not_the_id_changes_nothing() {
        let plain = sent("shop", V7);
        for header in ["A-1", V7] {
            let mut other = plain.clone();
            other.headers.insert(FOREIGN_ID, header).unwrap();
            assert_eq!(other.identity(), plain.identity(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn an_identity_has_the_time_of_its_id_or_none(bits: u128, sender: String) {
            let id = Uuid::from_u128(bits);
            let of = Metadata::new(MessageId::from_uuid(id), "shop.sold", &sender);
            let identity = of.identity().as_uuid();
            let is_v7 = id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122;
            prop_assert_eq!(identity.get_version_num(), if is_v7 { 7 } else { 5 });
            prop_assert_eq!(identity.get_variant(), Variant::RFC4122);
            if is_v7 {
                prop_assert_eq!(identity.get_timestamp(), id.get_timestamp());
            } else {
                prop_assert!(identity.as_bytes()[0] >= 0x80);
            }
            prop_assert_eq!(identity.to_string().parse::<MessageIdentity>()?, of.identity());
        }

        #[test]
        fn v7_ids_are_folded_with_their_time(millis in 0_u64..1 << 48, tail: [u8; 10]) {
            let id = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
            let id = MessageId::from_uuid(id);
            let shop = Metadata::new(id, "shop.sold", "shop").identity();
            let till = Metadata::new(id, "shop.sold", "till").identity();
            prop_assert_ne!(shop, till);
            let millis_of = |it: MessageIdentity| it.as_uuid().as_u128() >> 80;
            prop_assert_eq!((millis_of(shop), millis_of(till)), (millis.into(), millis.into()));
        }
    }
}
