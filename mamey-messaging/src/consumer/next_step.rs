//! Decides what becomes of a message whose handler failed.

use std::time::Duration;

use mamey_core::store::DeadLetterReason;
use mamey_core::{Error, ErrorKind, Retry, RetryPolicy};

/// What becomes of a message whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Run it again at once.
    RunAgain,
    /// Park it and its lane for so long.
    Park(Duration),
    /// Set it aside for a person.
    DeadLetter(DeadLetterReason),
    /// Leave it where it was: the handler was told to stop.
    Release,
}

/// What becomes of a message after `attempts` failed runs, the last of them with `error`.
///
/// `has_handler` tells a missing handler from a document that the handler did not find; `random`
/// is in `0.0..1.0` and spreads the pauses.
pub(super) fn verdict(
    error: &Error,
    attempts: u32,
    policy: RetryPolicy,
    has_handler: bool,
    random: f64,
) -> Verdict {
    match (error.kind(), error.retry()) {
        (ErrorKind::Cancelled, _) => Verdict::Release,
        (ErrorKind::Unsupported, _) => Verdict::DeadLetter(DeadLetterReason::Unreadable),
        _ if !has_handler => Verdict::DeadLetter(DeadLetterReason::Unreadable),
        (_, Retry::Never) => Verdict::DeadLetter(DeadLetterReason::Refused),
        _ if policy.is_immediate_after(attempts) => Verdict::RunAgain,
        _ => match policy.delay_after(attempts, random) {
            Some(delay) => Verdict::Park(delay),
            None => Verdict::DeadLetter(DeadLetterReason::Exhausted),
        },
    }
}

/// Whether the store may be the one that failed. Such a failure says nothing about the message, so
/// it costs none of its retries.
pub(super) fn may_be_an_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::LeaseLost)
}

/// Whether the store will never take this: then waiting for it would hold up the lane for ever.
pub(super) fn is_permanent(error: &Error) -> bool {
    error.retry() == Retry::Never || error.kind() == ErrorKind::LimitExceeded
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::Backoff;

    const POLICY: RetryPolicy = RetryPolicy { immediate: 1, delayed: 1, backoff: Backoff::DEFAULT };

    fn after(error: &Error, attempts: u32) -> Verdict {
        verdict(error, attempts, POLICY, true, 0.0)
    }

    #[test]
    fn a_passing_failure_runs_again_then_parks_then_is_exhausted() {
        let error = Error::timed_out("too slow");
        assert_eq!(after(&error, 1), Verdict::RunAgain);
        assert_eq!(after(&error, 2), Verdict::Park(Backoff::DEFAULT.first));
        let exhausted = Verdict::DeadLetter(DeadLetterReason::Exhausted);
        assert_eq!(after(&error, 3), exhausted);
    }

    #[test]
    fn what_no_retry_can_mend_is_set_aside_at_once() {
        let refused = Verdict::DeadLetter(DeadLetterReason::Refused);
        assert_eq!(after(&Error::rejected("orders.empty", "no"), 1), refused);
        assert_eq!(after(&Error::not_found("no such order"), 1), refused);
        let unreadable = Verdict::DeadLetter(DeadLetterReason::Unreadable);
        assert_eq!(after(&Error::unsupported("version 9"), 1), unreadable);
        let unhandled = verdict(&Error::not_found("no handler"), 1, POLICY, false, 0.0);
        assert_eq!(unhandled, unreadable);
    }

    #[test]
    fn a_cancelled_handler_leaves_its_message() {
        assert_eq!(after(&Error::cancelled("shutting down"), 9), Verdict::Release);
    }
}
