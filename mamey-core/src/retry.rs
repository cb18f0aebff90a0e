//! How often, and after which pauses, a failed message is handled again.

use std::time::Duration;

use crate::Backoff;

/// What happens after a failure that may be temporary: the handler first runs again at once, then the
/// message is parked and retried after growing pauses, then it becomes a dead letter.
///
/// ```
/// use std::time::Duration;
/// use mamey::{Backoff, RetryPolicy};
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5));
/// let policy = RetryPolicy::new(1, 3, backoff);
/// assert!(policy.is_immediate_after(1));
/// assert_eq!(policy.delay_after(2, 0.0), Some(Duration::from_secs(1)));
/// assert_eq!(policy.delay_after(4, 0.0), Some(Duration::from_secs(4)));
/// assert_eq!(policy.delay_after(5, 0.0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many times to run again at once.
    pub immediate: u32,
    /// How many times to run again from parking.
    pub delayed: u32,
    /// The pauses between delayed runs.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// A policy with all its numbers.
    #[must_use]
    pub const fn new(immediate: u32, delayed: u32, backoff: Backoff) -> Self {
        Self { immediate, delayed, backoff }
    }

    /// How many times to run again at once.
    #[must_use]
    pub const fn with_immediate(self, immediate: u32) -> Self {
        Self { immediate, ..self }
    }

    /// How many times to run again from parking.
    #[must_use]
    pub const fn with_delayed(self, delayed: u32) -> Self {
        Self { delayed, ..self }
    }

    /// The pauses between delayed runs.
    #[must_use]
    pub const fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// No second run: the first failure is final.
    pub const NEVER: Self = Self { immediate: 0, delayed: 0, backoff: Backoff::DEFAULT };

    /// The pause before the run that follows `attempts` failed ones; `None` when no run is left.
    ///
    /// `random` is in `0.0..1.0` and shortens the pause by up to the backoff's jitter.
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
    /// Two more runs at once, then eight after pauses from 200 ms up to a minute: about two minutes
    /// in total.
    fn default() -> Self {
        Self { immediate: 2, delayed: 8, backoff: Backoff::DEFAULT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::tests::backoff;
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
        let tiny = backoff.with_jitter(1.0);
        assert_eq!(tiny.delay(0, 1.0), Duration::ZERO);
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
    }
}
