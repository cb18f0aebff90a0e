//! How often, and after which pauses, a failed message is handled again.

use std::time::Duration;

use crate::Backoff;

/// What happens after a failure that may be temporary: the handler first runs again at once, then the
/// message is parked and retried after growing pauses, then it becomes a dead letter.
///
/// Which failures may be temporary is in the table of [`ErrorKind`](crate::ErrorKind). A message that
/// this build has no handler for, or cannot read, is not run again at once: it is parked, and its
/// pauses are the same. Any instance that holds its partition when it is due may handle it, so the
/// policy should last longer than two builds run side by side. The attempts of a build that cannot
/// read it take none from the handler of one that can.
///
/// The schedule of the default, to which no pause adds and from which each may take up to a fifth:
///
/// | Run | The pause before it | After the first failure |
/// |---|---|---|
/// | 2, 3 | none | 0 s |
/// | 4 | 200 ms | 0.2 s |
/// | 5 to 8 | 400 ms, 800 ms, 1.6 s, 3.2 s | 6.2 s |
/// | 9 to 12 | 6.4 s, 12.8 s, 25.6 s, 51.2 s | 1 min 42 s |
/// | 13 | 1 min 42.4 s | 3 min 25 s |
/// | 14 | 3 min 24.8 s | 6 min 49 s |
/// | 15 to 28 | 5 min each | 1 h 16 min 49 s |
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

    /// Two more runs at once, then 25 after pauses from 200 ms up to five minutes: over an hour, so
    /// that a message outlives another system's bad hour and the deployment of a new build.
    pub const DEFAULT: Self = Self {
        immediate: 2,
        delayed: 25,
        backoff: Backoff::new(Duration::from_millis(200), Duration::from_mins(5)).with_jitter(0.2),
    };

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
    /// [`RetryPolicy::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
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
    fn the_default_lasts_over_an_hour_as_its_table_says() {
        let policy = RetryPolicy::default();
        let until_run = |run: u32, random| -> Duration {
            (policy.immediate + 1..run)
                .map(|attempts| policy.delay_after(attempts, random).unwrap())
                .sum()
        };
        assert!(policy.is_immediate_after(2) && !policy.is_immediate_after(3));
        let table = [(4, 200), (8, 6_200), (12, 102_200), (13, 204_600), (14, 409_400)];
        for (run, millis) in table.into_iter().chain([(28, 4_609_400)]) {
            assert_eq!(until_run(run, 0.0), Duration::from_millis(millis), "run {run}");
        }
        assert!(until_run(28, 1.0) > Duration::from_hours(1), "{:?}", until_run(28, 1.0));
        assert_eq!(policy.delay_after(28, 0.0), None);
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
