//! Message ids and their source: UUIDv7 with buffered randomness.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::clock::{Clock, SystemClock};
use crate::{Error, Result};

/// The id of a message, unique among those of its sender.
///
/// Our own are UUIDv7. What takes effect once is a message's
/// [identity](crate::message::MessageIdentity), its sender and its id together.
///
/// ```
/// use mamey::MessageId;
///
/// let foreign = MessageId::from_foreign("https://shop.example", "A-1");
/// assert_eq!(foreign, MessageId::from_foreign("https://shop.example", "A-1"));
/// assert_eq!(foreign.to_string().parse::<MessageId>()?, foreign);
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// Wraps an existing UUID of any version.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// A stable id for a foreign message whose own id is not a UUID: the same `source` and `id`
    /// always give the same value, so that redeliveries are recognized.
    #[must_use]
    pub fn from_foreign(source: &str, id: &str) -> Self {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, source.as_bytes());
        Self(Uuid::new_v5(&namespace, id.as_bytes()))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let uuid = Uuid::try_parse(text).map_err(|cause| {
            Error::invalid(format!("`{text}` is not a message id (a UUID)")).with_source(cause)
        })?;
        Ok(Self(uuid))
    }
}

/// Where ids and other random bits come from. Tests replace it to be deterministic.
pub trait IdSource: Send + Sync + 'static {
    /// A new UUID, never repeated; version 7 where possible.
    fn next_uuid(&self) -> Uuid;

    /// A new message id.
    fn message_id(&self) -> MessageId {
        MessageId(self.next_uuid())
    }

    /// A new id of a span in a trace.
    fn span_id(&self) -> NonZeroU64 {
        // The random tail of a UUID is never zero: its variant bits are set.
        NonZeroU64::new(self.next_uuid().as_u64_pair().1).unwrap_or(NonZeroU64::MIN)
    }
}

/// UUIDv7 from a clock and the operating system's randomness, read in blocks.
///
/// Ids of one source never go backwards, even when its clock does.
pub struct UuidV7Source {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

const ENTROPY_BYTES: usize = 1024;
const RANDOM_BYTES_PER_ID: usize = 10;

struct State {
    entropy: [u8; ENTROPY_BYTES],
    used: usize,
    last_millis: u64,
    counter: u16,
}

/// The largest value of the 12-bit counter that follows the milliseconds.
const COUNTER_MAX: u16 = 0x0fff;

impl UuidV7Source {
    /// Ids stamped by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let entropy = [0; ENTROPY_BYTES];
        let state = State { entropy, used: ENTROPY_BYTES, last_millis: 0, counter: 0 };
        Self { clock, state: Mutex::new(state) }
    }
}

impl Default for UuidV7Source {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl fmt::Debug for UuidV7Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UuidV7Source")
    }
}

impl IdSource for UuidV7Source {
    fn next_uuid(&self) -> Uuid {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or_default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random: [u8; RANDOM_BYTES_PER_ID] = state.random();
        let counter = state.tick(now);
        random[0] = counter.to_be_bytes()[0];
        random[1] = counter.to_be_bytes()[1];
        Builder::from_unix_timestamp_millis(state.last_millis, &random).into_uuid()
    }

    fn span_id(&self) -> NonZeroU64 {
        let random = self.state.lock().unwrap_or_else(PoisonError::into_inner).random();
        NonZeroU64::new(u64::from_ne_bytes(random)).unwrap_or(NonZeroU64::MIN)
    }
}

impl State {
    fn random<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        if self.used + BYTES > ENTROPY_BYTES {
            self.refill();
        }
        let mut random = [0; BYTES];
        random.copy_from_slice(&self.entropy[self.used..self.used + BYTES]);
        self.used += BYTES;
        random
    }

    #[expect(
        clippy::expect_used,
        reason = "ids without randomness would collide, so no work can continue"
    )]
    fn refill(&mut self) {
        getrandom::fill(&mut self.entropy).expect("the operating system provides random bytes");
        self.used = 0;
    }

    /// Moves to the later of now and the last id's millisecond, and counts within it.
    fn tick(&mut self, now_millis: u64) -> u16 {
        if now_millis > self.last_millis {
            self.last_millis = now_millis;
            self.counter = 0;
        } else if self.counter == COUNTER_MAX {
            self.last_millis += 1;
            self.counter = 0;
        } else {
            self.counter += 1;
        }
        self.counter
    }
}

/// A new UUIDv7 of this process, for domain code without a context; prefer `Context::new_id` in
/// handlers, which tests can make repeatable.
#[must_use]
pub fn new_uuid() -> Uuid {
    static SOURCE: LazyLock<UuidV7Source> = LazyLock::new(UuidV7Source::default);
    SOURCE.next_uuid()
}

/// Ids `…0001`, `…0002` and so on, for tests that compare ids.
#[derive(Debug, Default)]
pub struct SequentialIds(std::sync::atomic::AtomicU64);

impl IdSource for SequentialIds {
    fn next_uuid(&self) -> Uuid {
        let next = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        Uuid::from_u128(u128::from(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use std::time::Duration;

    #[test]
    fn ids_are_version_7_and_never_go_backwards_even_when_the_clock_does() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
        let ids = UuidV7Source::new(clock.clone());
        let mut last = ids.next_uuid();
        for step in 0..20_000_i64 {
            if step == 10_000 {
                clock.set(Timestamp::from_micros(1_700_000_000_000_000));
            }
            let next = ids.next_uuid();
            assert_eq!(next.get_version_num(), 7);
            assert!(next > last, "{next} came after {last}");
            last = next;
        }
        clock.advance(Duration::from_secs(1));
    }

    #[test]
    fn ids_without_a_context_never_repeat_across_threads() {
        let draw = || (0..1_000).map(|_| new_uuid()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let drawn = threads.into_iter().flat_map(|one| one.join().unwrap());
        let distinct: std::collections::HashSet<Uuid> = drawn.collect();
        assert_eq!(distinct.len(), 4_000);
    }

    #[test]
    fn a_foreign_id_maps_to_the_same_message_id_each_time() {
        let one = MessageId::from_foreign("shop", "order-1");
        assert_eq!(one, MessageId::from_foreign("shop", "order-1"));
        assert_ne!(one, MessageId::from_foreign("shop", "order-2"));
        assert_ne!(one, MessageId::from_foreign("till", "order-1"));
    }
}
