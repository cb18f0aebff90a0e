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
        let delayed_so_far = attempts.saturating_sub(self.immediate.saturating_add(1));
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
        let drawn = self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0);
        // No pause is lost to arithmetic: one that cannot be shortened stays whole.
        let seconds = full.as_secs_f64() * (1.0 - drawn);
        Duration::try_from_secs_f64(seconds).map_or(full, |pause| pause.min(full))
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

    #[test]
    fn extremes_do_not_panic() {
        let backoff = Backoff { first: Duration::MAX, max: Duration::MAX, jitter: f64::NAN };
        for immediate in [0, u32::MAX] {
            let policy = RetryPolicy { immediate, delayed: u32::MAX, backoff };
            for random in [0.0, 1.0, f64::NAN, f64::INFINITY] {
                assert_eq!(policy.delay_after(u32::MAX - 1, random), Some(Duration::MAX));
            }
        }
        let tiny = Backoff { jitter: 1.0, ..backoff };
        assert_eq!(tiny.delay(0, 1.0), Duration::ZERO);
    }

    fn backoff() -> impl Strategy<Value = Backoff> {
        let pause = || (0_u64..1 << 40).prop_map(Duration::from_micros);
        let jitter = prop_oneof![Just(0.0), Just(1.0), Just(f64::NAN), -1.0_f64..2.0];
        (pause(), pause(), jitter).prop_map(|(first, max, jitter)| Backoff { first, max, jitter })
    }

    proptest! {
        #[test]
        fn a_message_runs_as_often_as_the_policy_says(
            immediate in 0_u32..20, delayed in 0_u32..20, backoff in backoff(),
        ) {
            let policy = RetryPolicy { immediate, delayed, backoff };
            let (mut at_once, mut later, mut attempts) = (0, 0, 1);
            while policy.is_immediate_after(attempts) {
                (at_once, attempts) = (at_once + 1, attempts + 1);
            }
            while policy.delay_after(attempts, 0.5).is_some() {
                prop_assert!(!policy.is_immediate_after(attempts));
                (later, attempts) = (later + 1, attempts + 1);
            }
            prop_assert_eq!((at_once, later), (immediate, delayed));
        }

        #[test]
        fn pauses_grow_to_the_longest_and_chance_only_shortens_them(
            backoff in backoff(), earlier in 0_u32..100, random in -1.0_f64..2.0,
        ) {
            let whole = |earlier| Backoff { jitter: 0.0, ..backoff }.delay(earlier, random);
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
