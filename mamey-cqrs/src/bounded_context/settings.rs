//! The settings of one bounded context, each of which may be left open.

use std::time::Duration;

use mamey_core::{Backoff, RetryPolicy};

/// How long one run of a handler may take, unless a setting says otherwise.
pub const HANDLER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The settings of one bounded context. What is left open has its default.
///
/// They are set in the declaration of the context, by [`configure`](crate::BoundedContext::configure),
/// and for the service that hosts it. The service's settings for this one context go before those of
/// the declaration, and these go before the service's settings for all contexts.
///
/// ```
/// use std::time::Duration;
///
/// use mamey::{BoundedContext, ContextSettings};
///
/// let settings = ContextSettings::default().with_prefetch(256).with_lanes_max(128);
/// let orders = BoundedContext::new("orders").configure(settings).timeout(Duration::from_secs(5));
/// assert_eq!(orders.settings().prefetch, Some(256));
/// assert_eq!(orders.settings().in_flight_max, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ContextSettings {
    /// How long one run of a handler may take. Default: [`HANDLER_TIMEOUT_DEFAULT`].
    pub timeout: Option<Duration>,
    /// How messages whose handlers fail are retried. Default: [`RetryPolicy::DEFAULT`].
    pub retry: RetrySettings,
    /// How many received messages of one partition may be in memory. Default: 64.
    pub prefetch: Option<u16>,
    /// How many messages, each of another lane, are handled at a time. Default: 64.
    pub lanes_max: Option<usize>,
    /// How many messages that failed are retried at a time, beside those. Default: 16.
    pub retries_max: Option<usize>,
    /// How many messages of the context's outbox may be in flight at a time. Default: 256.
    pub in_flight_max: Option<usize>,
    /// After how long a handler that runs, or a message that waits four times as long, no longer
    /// holds up others: the message is parked. Default: 250 ms.
    pub slow_after: Option<Duration>,
    /// How many messages may be parked; beyond it, nothing is received. Default: 100 000.
    pub parked_messages_max: Option<u64>,
}

impl ContextSettings {
    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets [`retry`](Self::retry): a whole [`RetryPolicy`], or some of its numbers.
    #[must_use]
    pub fn with_retry(mut self, retry: impl Into<RetrySettings>) -> Self {
        self.retry = retry.into();
        self
    }

    /// Sets [`prefetch`](Self::prefetch).
    #[must_use]
    pub const fn with_prefetch(mut self, prefetch: u16) -> Self {
        self.prefetch = Some(prefetch);
        self
    }

    /// Sets [`lanes_max`](Self::lanes_max).
    #[must_use]
    pub const fn with_lanes_max(mut self, lanes_max: usize) -> Self {
        self.lanes_max = Some(lanes_max);
        self
    }

    /// Sets [`retries_max`](Self::retries_max).
    #[must_use]
    pub const fn with_retries_max(mut self, retries_max: usize) -> Self {
        self.retries_max = Some(retries_max);
        self
    }

    /// Sets [`in_flight_max`](Self::in_flight_max).
    #[must_use]
    pub const fn with_in_flight_max(mut self, in_flight_max: usize) -> Self {
        self.in_flight_max = Some(in_flight_max);
        self
    }

    /// Sets [`slow_after`](Self::slow_after).
    #[must_use]
    pub const fn with_slow_after(mut self, slow_after: Duration) -> Self {
        self.slow_after = Some(slow_after);
        self
    }

    /// Sets [`parked_messages_max`](Self::parked_messages_max).
    #[must_use]
    pub const fn with_parked_messages_max(mut self, parked_messages_max: u64) -> Self {
        self.parked_messages_max = Some(parked_messages_max);
        self
    }

    /// These settings, and those of `other` where these are open.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            timeout: self.timeout.or(other.timeout),
            retry: self.retry.or(other.retry),
            prefetch: self.prefetch.or(other.prefetch),
            lanes_max: self.lanes_max.or(other.lanes_max),
            retries_max: self.retries_max.or(other.retries_max),
            in_flight_max: self.in_flight_max.or(other.in_flight_max),
            slow_after: self.slow_after.or(other.slow_after),
            parked_messages_max: self.parked_messages_max.or(other.parked_messages_max),
        }
    }
}

/// The numbers of a [`RetryPolicy`], each of which may be left open.
///
/// ```
/// use mamey::{ContextSettings, RetryPolicy};
///
/// let mut settings = ContextSettings::default();
/// settings.retry.delayed = Some(5);
/// assert_eq!(settings.retry.policy(), RetryPolicy::DEFAULT.with_delayed(5));
/// assert_eq!(settings.with_retry(RetryPolicy::NEVER).retry.policy(), RetryPolicy::NEVER);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// How many times to run again at once.
    pub immediate: Option<u32>,
    /// How many times to run again from parking.
    pub delayed: Option<u32>,
    /// The first pause between delayed runs.
    pub first_pause: Option<Duration>,
    /// The longest pause between delayed runs.
    pub longest_pause: Option<Duration>,
    /// How much of each pause is random, from 0.0 to 1.0.
    pub jitter: Option<f64>,
    /// How many times a process may end while the handler runs from parking.
    pub aborts: Option<u32>,
}

impl RetrySettings {
    /// These numbers, and those of `other` where these are open.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            immediate: self.immediate.or(other.immediate),
            delayed: self.delayed.or(other.delayed),
            first_pause: self.first_pause.or(other.first_pause),
            longest_pause: self.longest_pause.or(other.longest_pause),
            jitter: self.jitter.or(other.jitter),
            aborts: self.aborts.or(other.aborts),
        }
    }

    /// The policy; what is open is as in [`RetryPolicy::DEFAULT`].
    #[must_use]
    pub fn policy(self) -> RetryPolicy {
        let RetryPolicy { immediate, delayed, backoff, aborts, .. } = RetryPolicy::DEFAULT;
        let first = self.first_pause.unwrap_or(backoff.first);
        let max = self.longest_pause.unwrap_or(backoff.max);
        let backoff = Backoff::new(first, max).with_jitter(self.jitter.unwrap_or(backoff.jitter));
        let immediate = self.immediate.unwrap_or(immediate);
        RetryPolicy::new(immediate, self.delayed.unwrap_or(delayed), backoff)
            .with_aborts(self.aborts.unwrap_or(aborts))
    }
}

impl From<RetryPolicy> for RetrySettings {
    fn from(policy: RetryPolicy) -> Self {
        Self {
            immediate: Some(policy.immediate),
            delayed: Some(policy.delayed),
            first_pause: Some(policy.backoff.first),
            longest_pause: Some(policy.backoff.max),
            jitter: Some(policy.backoff.jitter),
            aborts: Some(policy.aborts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(number: u16) -> ContextSettings {
        let time = Duration::from_secs(u64::from(number));
        let policy = RetryPolicy::new(u32::from(number), 9, Backoff::new(time, time));
        ContextSettings::default()
            .with_timeout(time)
            .with_retry(policy)
            .with_prefetch(number)
            .with_lanes_max(number.into())
            .with_retries_max(number.into())
            .with_in_flight_max(number.into())
            .with_slow_after(time)
            .with_parked_messages_max(number.into())
    }

    #[test]
    fn what_is_open_is_taken_from_the_other() {
        let open = ContextSettings::default();
        assert_eq!(open.or(all(2)), all(2));
        assert_eq!(all(1).or(all(2)), all(1));
        assert_eq!(all(1).or(open), all(1));
        let some = open.with_prefetch(3).or(all(2));
        assert_eq!(some, ContextSettings { prefetch: Some(3), ..all(2) });
    }

    #[test]
    fn a_policy_is_the_default_where_it_is_open() {
        assert_eq!(RetrySettings::default().policy(), RetryPolicy::DEFAULT);
        for policy in [RetryPolicy::NEVER, RetryPolicy::DEFAULT.with_aborts(9)] {
            assert_eq!(RetrySettings::from(policy).policy(), policy);
        }
        let immediate = RetrySettings { immediate: Some(7), ..RetrySettings::default() };
        assert_eq!(immediate.policy(), RetryPolicy::DEFAULT.with_immediate(7));
        let never = immediate.or(RetryPolicy::NEVER.into()).policy();
        assert_eq!(never, RetryPolicy::NEVER.with_immediate(7));
    }
}
