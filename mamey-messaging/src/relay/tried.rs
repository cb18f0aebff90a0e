//! What was tried of a record before, and what becomes of it after a failure.

use std::time::Duration;

use mamey_core::store::{Becomes, FailedRecord, Failure, RecordId, UndeliveredReason};
use mamey_core::{Backoff, Error, ErrorKind, Retry};
use tokio::time::Instant;

/// So often a record fails before it is stalled, if there is room in memory meanwhile: most failures are
/// over by then.
const STALLED_AFTER: u32 = 3;

/// What was tried of a record before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    /// How often it has failed.
    pub(super) failures: u32,
    /// Whether it is stalled: it has left the outbox, and its key waits behind it in the store.
    pub(super) stalled: bool,
    /// For how long it had been tried when this relay first saw it fail, or read it.
    waited: Duration,
    seen: Option<Instant>,
}

impl Tried {
    /// A record that has not failed.
    pub(super) const NEVER: Self =
        Self { failures: 0, stalled: false, waited: Duration::ZERO, seen: None };

    /// A stalled record, as it is read.
    pub(super) const fn stalled(failures: u32, waited: Duration, now: Instant) -> Self {
        Self { failures, stalled: true, waited, seen: Some(now) }
    }

    /// With one failure more.
    pub(super) fn again(self, now: Instant) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { failures, seen: self.seen.or(Some(now)), ..self }
    }

    /// For how long it has been tried.
    fn waited(&self, now: Instant) -> Duration {
        let here = self.seen.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        self.waited.saturating_add(here)
    }
}

/// What becomes of a record that has failed.
#[derive(Debug)]
pub(super) enum Next {
    /// It waits in memory until it is due.
    Wait(Instant),
    /// The store records that it is stalled or given up.
    Record(FailedRecord),
}

/// How the other records fare meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others {
    /// When one was confirmed last.
    pub(super) confirmed: Option<Instant>,
    /// Whether many wait in memory for their next try.
    pub(super) are_crowded: bool,
}

/// How long records are tried that fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) backoff: Backoff,
    pub(super) unroutable_for: Duration,
}

impl Policy {
    /// What becomes of a record that has failed, this failure included in `tried`. `random` is in
    /// `0.0..1.0`.
    pub(super) fn next(
        &self,
        id: RecordId,
        tried: Tried,
        error: &Error,
        others: Others,
        (now, random): (Instant, f64),
    ) -> Next {
        let record = |becomes| {
            let failed = FailedRecord::new(id, Failure::from(error), becomes);
            Next::Record(failed.with_attempts(tried.failures))
        };
        if is_final(error) {
            return record(Becomes::Undelivered { reason: UndeliveredReason::Refused });
        }
        let unroutable = error.kind() == ErrorKind::Unroutable;
        if unroutable && tried.waited(now) >= self.unroutable_for {
            return record(Becomes::Undelivered { reason: UndeliveredReason::Unroutable });
        }
        let delay = self.delay(error, tried.failures, random);
        // In an outage all fail alike: then their keys wait in memory, and nothing more is read.
        let others_pass =
            others.confirmed.is_some_and(|at| tried.seen.is_some_and(|seen| at > seen));
        let early = tried.failures < STALLED_AFTER && !others.are_crowded;
        if tried.stalled || (unroutable || others_pass) && !early {
            return record(Becomes::Stalled { delay });
        }
        Next::Wait(now + delay)
    }

    fn delay(&self, error: &Error, failures: u32, random: f64) -> Duration {
        let earlier = match error.retry() {
            // Only a person can fix it, so frequent retries are useless.
            Retry::Never => u32::MAX,
            _ => failures.saturating_sub(1),
        };
        self.backoff.delay(earlier, random)
    }

    /// What becomes of a record that this build cannot read, this failure included in `tried`.
    pub(super) fn unreadable(
        &self,
        id: RecordId,
        tried: Tried,
        why: &str,
        (now, random): (Instant, f64),
    ) -> FailedRecord {
        let error = Error::unreadable(why.to_owned());
        let becomes = match tried.waited(now) >= self.unroutable_for {
            true => Becomes::Undelivered { reason: UndeliveredReason::Unreadable },
            false => Becomes::Stalled { delay: self.delay(&error, tried.failures, random) },
        };
        FailedRecord::new(id, Failure::from(&error), becomes).with_attempts(tried.failures)
    }
}

/// Whether the message can never be published, by whichever build. What a person can fix in the
/// transport or its settings is no such failure.
fn is_final(error: &Error) -> bool {
    let of_message = matches!(
        error.kind(),
        ErrorKind::Invalid | ErrorKind::LimitExceeded | ErrorKind::Unsupported
    );
    error.retry() == Retry::Never && of_message
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::id::MessageId;

    const HOUR: Duration = Duration::from_hours(1);

    fn becomes(tried: Tried, error: &Error, others: Others, after: Duration) -> Option<Becomes> {
        let policy = Policy {
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            unroutable_for: HOUR,
        };
        let id = RecordId::new(7, MessageId::from_foreign("orders", "7"));
        let now = tried.seen.unwrap() + after;
        match policy.next(id, tried, error, others, (now, 0.0)) {
            Next::Record(failed) => {
                assert_eq!((failed.id, failed.attempts), (id, tried.failures));
                assert_eq!(failed.failure, Failure::from(error));
                Some(failed.becomes)
            }
            Next::Wait(due) => {
                assert!(due > now);
                None
            }
        }
    }

    fn tried(failures: u32) -> Tried {
        (0..failures).fold(Tried::NEVER, |tried, _| tried.again(Instant::now()))
    }

    fn others(confirmed: Option<Instant>, are_crowded: bool) -> Others {
        Others { confirmed, are_crowded }
    }

    #[test]
    fn what_can_never_be_published_is_given_up_at_once() {
        let refused = Some(Becomes::Undelivered { reason: UndeliveredReason::Refused });
        let alone = others(None, false);
        for error in [
            Error::invalid("its key has a control character"),
            Error::unsupported("this transport has no such header"),
            Error::limit_exceeded("it has 17 MiB").with_retry(Retry::Never),
        ] {
            assert_eq!(becomes(tried(1), &error, alone, Duration::ZERO), refused, "{error}");
            let later = error.with_retry(Retry::Later);
            assert_eq!(becomes(tried(1), &later, alone, Duration::ZERO), None, "{later}");
        }
        let wrong_password = Error::misconfigured("the broker refuses the password");
        assert_eq!(becomes(tried(9), &wrong_password, alone, 100 * HOUR), None);
    }

    #[test]
    fn what_has_no_route_is_stalled_and_given_up_in_the_end() {
        let error = Error::unroutable("no queue takes it");
        let (alone, crowded) = (others(None, false), others(None, true));
        let stalled = |secs| Some(Becomes::Stalled { delay: Duration::from_secs(secs) });
        assert_eq!(becomes(tried(2), &error, alone, Duration::ZERO), None);
        assert_eq!(becomes(tried(3), &error, alone, Duration::ZERO), stalled(4));
        assert_eq!(becomes(tried(1), &error, crowded, Duration::ZERO), stalled(1));
        let before = HOUR - Duration::from_nanos(1);
        assert_eq!(becomes(tried(20), &error, alone, before), stalled(30));
        let given_up = Some(Becomes::Undelivered { reason: UndeliveredReason::Unroutable });
        assert_eq!(becomes(tried(20), &error, alone, HOUR), given_up);
        let now = Instant::now();
        let long_ago = Tried::stalled(5, before, now).again(now);
        assert_eq!(becomes(long_ago, &error, alone, Duration::ZERO), stalled(30));
        assert_eq!(becomes(long_ago, &error, alone, Duration::from_nanos(1)), given_up);
    }

    #[test]
    fn an_outage_stalls_nothing_and_the_failure_of_one_among_others_does() {
        let error = Error::unavailable("no confirm");
        let seen = tried(3);
        let (before, after) = (seen.seen, seen.seen.map(|seen| seen + Duration::from_secs(1)));
        for are_crowded in [false, true] {
            assert_eq!(becomes(seen, &error, others(before, are_crowded), 100 * HOUR), None);
        }
        let stalled = |secs| Some(Becomes::Stalled { delay: Duration::from_secs(secs) });
        assert_eq!(becomes(seen, &error, others(after, false), 100 * HOUR), stalled(4));
        let one = tried(1);
        let after = one.seen.map(|seen| seen + Duration::from_secs(1));
        assert_eq!(becomes(one, &error, others(after, false), HOUR), None);
        assert_eq!(becomes(one, &error, others(after, true), HOUR), stalled(1));
        let now = Instant::now();
        let stalled_before = Tried::stalled(1, HOUR, now).again(now);
        assert_eq!(becomes(stalled_before, &error, others(None, false), HOUR), stalled(2));
    }

    #[test]
    fn what_cannot_be_read_is_stalled_and_given_up_in_the_end() {
        let policy = Policy { backoff: Backoff::DEFAULT.with_jitter(0.0), unroutable_for: HOUR };
        let id = RecordId::new(7, MessageId::from_foreign("orders", "7"));
        let now = Instant::now();
        let failed = policy.unreadable(id, Tried::NEVER.again(now), "of the moon", (now, 0.0));
        assert_eq!(failed.becomes, Becomes::Stalled { delay: Duration::from_millis(200) });
        assert!(failed.failure.is_unreadable() && failed.failure.message.contains("moon"));
        let last = Tried::stalled(3, HOUR, now).again(now);
        let failed = policy.unreadable(id, last, "of the moon", (now, 0.0));
        let reason = UndeliveredReason::Unreadable;
        assert_eq!(failed.becomes, Becomes::Undelivered { reason });
        assert_eq!(failed.attempts, 4);
    }
}
