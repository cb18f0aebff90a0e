//! Keys, which give messages their order, and the slots they fall into.

use std::fmt;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::id::MessageId;

/// The number of slots that keys are spread over. Part of the wire contract: it never changes.
pub const SLOTS: u16 = 64;

/// The longest key that is written to the stack first, so that it is allocated once and in its size.
const INLINE_BYTES_MAX: usize = 64;

/// The longest key that can be published, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// What orders messages: those of one sender with equal keys are handled in commit order.
///
/// ```
/// use mamey::message::Key;
///
/// let key = Key::new(7);
/// assert_eq!(key, Key::from("7"));
/// assert!(key.slot() < mamey::message::SLOTS);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Box<str>);

impl Key {
    /// The key that `value` prints as.
    #[must_use]
    pub fn new(value: impl fmt::Display) -> Self {
        let mut text = [0; INLINE_BYTES_MAX];
        match printed(&mut text, &value) {
            Some(text) => Self(text.into()),
            None => Self(value.to_string().into_boxed_str()),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The slot of this key, below [`SLOTS`]: the same on every machine and in every version.
    #[must_use]
    pub fn slot(&self) -> u16 {
        slot(self.0.as_bytes())
    }
}

/// What `value` prints as, if it fits.
fn printed<'t>(text: &'t mut [u8], value: &impl fmt::Display) -> Option<&'t str> {
    let mut free = &mut *text;
    write!(free, "{value}").ok()?;
    let unused = free.len();
    let (used, _) = text.split_at(text.len() - unused);
    str::from_utf8(used).ok()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into_boxed_str())
    }
}

/// The slot of a message: that of its key, or one computed from its id when it has no key.
#[must_use]
pub fn slot_of(key: Option<&Key>, id: MessageId) -> u16 {
    match key {
        Some(key) => key.slot(),
        None => slot(id.as_uuid().as_bytes()),
    }
}

/// FNV-1a of 64 bits, folded: simple enough to repeat in SQL or in another language.
fn slot(bytes: &[u8]) -> u16 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    let hash = bytes.iter().fold(OFFSET, step);
    let folded = (hash >> 32) ^ hash;
    // Below 64, so the conversion loses nothing.
    (folded % u64::from(SLOTS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_part_of_the_wire_contract() {
        // A changed value here moves keys between partitions of running systems: never do it.
        let slots = ["", "a", "order-1", "order-2", "0190f5d6-0000-7000-8000-000000000001"];
        let slots: Vec<u16> = slots.into_iter().map(|key| Key::from(key).slot()).collect();
        assert_eq!(slots, SLOT_VECTORS);
    }

    const SLOT_VECTORS: [u16; 5] = [1, 0, 50, 11, 54];

    #[test]
    fn a_key_of_any_length_is_what_its_value_prints() {
        for length in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, KEY_BYTES_MAX + 1] {
            let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(Key::new(format_args!("{}{text}", -7)).as_str(), format!("-7{text}"));
            assert_eq!(Key::new(&text), Key::from(text));
        }
    }

    #[test]
    fn keys_spread_over_all_slots() {
        let mut counts = [0_u32; SLOTS as usize];
        for n in 0..64_000 {
            counts[usize::from(Key::new(format_args!("order-{n}")).slot())] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
