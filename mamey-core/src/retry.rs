//! How often, and after which pauses, a failed message is handled again.

use std::time::Duration;

/// What happens when a handler fails in a way that may pass: first it runs again at once, then the
/// message is parked and retried after growing pauses, then it becomes a dead letter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// How many times to run again at once.
    pub immediate: u32,
    /// How many times to run again from parking.
    pub delayed: u32,
    /// The pauses between delayed runs.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// No second run: the first failure is final.
    pub const NEVER: Self = Self { immediate: 0, delayed: 0, backoff: Backoff::DEFAULT };

    /// The pause before the run that follows `attempts` failed ones, or `None` when it was the last.
    ///
    /// `random` is in `0.0..1.0` and spreads the pause.
    #[must_use]
    pub fn delay_after(&self, attempts: u32, random: f64) -> Option<Duration> {
        let delayed_so_far = attempts.saturating_sub(self.immediate + 1);
        (delayed_so_far < self.delayed).then(|| self.backoff.delay(delayed_so_far, random))
    }

    /// Whether the run that follows `attempts` failed ones happens at once.
    #[must_use]
    pub const fn is_immediate_after(&self, attempts: u32) -> bool {
        attempts <= self.immediate
    }
}

impl Default for RetryPolicy {
    /// Two more runs at once, then eight with pauses from 200 ms to a minute: about two minutes.
    fn default() -> Self {
        Self { immediate: 2, delayed: 8, backoff: Backoff::DEFAULT }
    }
}

/// Exponentially growing pauses with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// How much of each pause is drawn by chance, from 0.0 (none) to 1.0 (all of it).
    pub jitter: f64,
}

impl Backoff {
    /// From 200 ms, doubling up to a minute, half of each pause by chance.
    pub const DEFAULT: Self =
        Self { first: Duration::from_millis(200), max: Duration::from_secs(60), jitter: 0.5 };

    /// The pause after `earlier` pauses; `random` is in `0.0..1.0`.
    #[must_use]
    pub fn delay(&self, earlier: u32, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(earlier.min(31)));
        let full = doubled.min(self.max);
        let jitter = self.jitter.clamp(0.0, 1.0);
        full.mul_f64(1.0 - jitter * random.clamp(0.0, 1.0))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_schedule_is_at_once_then_delayed_then_over() {
        let policy = RetryPolicy { immediate: 2, delayed: 2, backoff: Backoff::DEFAULT };
        assert!(policy.is_immediate_after(1) && policy.is_immediate_after(2));
        assert!(!policy.is_immediate_after(3));
        assert_eq!(policy.delay_after(3, 0.0), Some(Duration::from_millis(200)));
        assert_eq!(policy.delay_after(4, 0.0), Some(Duration::from_millis(400)));
        assert_eq!(policy.delay_after(5, 0.0), None);
        assert_eq!(RetryPolicy::NEVER.delay_after(1, 0.0), None);
    }

    proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_longest(
            earlier in 0_u32..10_000, jitter in -1.0_f64..2.0, random in -1.0_f64..2.0,
        ) {
            let backoff = Backoff { jitter, ..Backoff::DEFAULT };
            prop_assert!(backoff.delay(earlier, random) <= backoff.max);
        }
    }
}
