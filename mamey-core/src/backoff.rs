//! Pauses that grow from one failure to the next: the one place where they are computed.

use std::time::Duration;

/// Exponentially growing pauses with jitter: each is twice the one before, up to a longest.
///
/// ```
/// use std::time::Duration;
/// use mamey::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// assert_eq!(backoff.delay(0, 0.0), Duration::from_millis(100));
/// assert_eq!(backoff.delay(2, 0.0), Duration::from_millis(400));
/// assert_eq!(backoff.delay(9, 0.0), Duration::from_secs(5));
/// // The caller's random number shortens a pause by up to its jitter, here one half.
/// assert_eq!(backoff.delay(2, 1.0), Duration::from_millis(200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// How much of each pause is random, from 0.0 (none) to 1.0 (all of it).
    pub jitter: f64,
}

impl Backoff {
    /// From 200 ms, doubling up to a minute, half of each pause random.
    pub const DEFAULT: Self = Self::new(Duration::from_millis(200), Duration::from_mins(1));

    /// Pauses that double from `first` up to `max`, half of each random.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, jitter: 0.5 }
    }

    /// How much of each pause is random, from 0.0 (none) to 1.0 (all of it).
    #[must_use]
    pub const fn with_jitter(self, jitter: f64) -> Self {
        Self { jitter, ..self }
    }

    /// The pause after `earlier` pauses; `random` is in `0.0..1.0`.
    #[must_use]
    pub fn delay(&self, earlier: u32, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(earlier.min(31)));
        let full = doubled.min(self.max);
        let share = self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0);
        let seconds = full.as_secs_f64() * (1.0 - share);
        // A pause that cannot be computed (a jitter that is not a number) is not shortened.
        Duration::try_from_secs_f64(seconds).map_or(full, |pause| pause.min(full))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn backoff() -> impl Strategy<Value = Backoff> {
        let pause = || (0_u64..1 << 40).prop_map(Duration::from_micros);
        let jitter = prop_oneof![Just(0.0), Just(1.0), Just(f64::NAN), -1.0_f64..2.0];
        (pause(), pause(), jitter).prop_map(|(first, max, jitter)| Backoff { first, max, jitter })
    }

    proptest! {
        #[test]
        fn pauses_grow_to_the_longest_and_jitter_only_shortens_them(
            backoff in backoff(), earlier in 0_u32..100, random in -1.0_f64..2.0,
        ) {
            let whole = |earlier| backoff.with_jitter(0.0).delay(earlier, random);
            prop_assert!(whole(earlier) <= whole(earlier + 1));
            prop_assert!(whole(earlier) <= backoff.max);
            let pause = backoff.delay(earlier, random);
            prop_assert!(pause <= whole(earlier));
            let jitter = if backoff.jitter.is_nan() { 0.0 } else { backoff.jitter.clamp(0.0, 1.0) };
            let least = whole(earlier).as_secs_f64() * (1.0 - jitter);
            prop_assert!(pause.as_secs_f64() >= least - 1e-6, "{:?} is under {}", pause, least);
        }
    }
}
