//! Decides what to do with a message whose handler failed.

use std::time::Duration;

use mamey_core::store::DeadLetterReason;
use mamey_core::{Error, ErrorKind, Retry, RetryPolicy};

/// What to do with a message whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NextStep {
    /// Run it again at once.
    RunAgain,
    /// Park it and its lane for this long.
    Park(Duration),
    /// Keep it as a dead letter, for a person to look at.
    DeadLetter(DeadLetterReason),
    /// Leave it where it came from: the consumer stops.
    Return,
}

/// What to do with a message after `attempts` failed runs, the last of them with `error`.
///
/// `has_handler` tells a missing handler from a document that the handler did not find; `stopping`
/// tells a handler that was cancelled by the shutdown from one that failed so by itself; `random` is
/// in `0.0..1.0` and spreads the pauses.
pub(super) fn next_step(
    error: &Error,
    attempts: u32,
    policy: RetryPolicy,
    has_handler: bool,
    stopping: bool,
    random: f64,
) -> NextStep {
    match (error.kind(), error.retry()) {
        (ErrorKind::Cancelled, _) if stopping => NextStep::Return,
        (ErrorKind::Unsupported, _) => NextStep::DeadLetter(DeadLetterReason::Unreadable),
        _ if !has_handler => NextStep::DeadLetter(DeadLetterReason::Unreadable),
        (_, Retry::Never) => NextStep::DeadLetter(DeadLetterReason::Refused),
        _ if policy.is_immediate_after(attempts) => NextStep::RunAgain,
        _ => match policy.delay_after(attempts, random) {
            Some(delay) => NextStep::Park(delay),
            None => NextStep::DeadLetter(DeadLetterReason::Exhausted),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::Backoff;

    const POLICY: RetryPolicy = RetryPolicy::new(1, 1, Backoff::DEFAULT);

    fn after(error: &Error, attempts: u32) -> NextStep {
        next_step(error, attempts, POLICY, true, false, 0.0)
    }

    #[test]
    fn a_temporary_failure_runs_again_then_parks_then_is_exhausted() {
        let error = Error::timed_out("too slow");
        assert_eq!(after(&error, 1), NextStep::RunAgain);
        assert_eq!(after(&error, 2), NextStep::Park(Backoff::DEFAULT.first));
        let exhausted = NextStep::DeadLetter(DeadLetterReason::Exhausted);
        assert_eq!(after(&error, 3), exhausted);
    }

    #[test]
    fn what_no_retry_can_fix_becomes_a_dead_letter_at_once() {
        let refused = NextStep::DeadLetter(DeadLetterReason::Refused);
        assert_eq!(after(&Error::rejected("orders.empty", "no"), 1), refused);
        assert_eq!(after(&Error::not_found("no such order"), 1), refused);
        let unreadable = NextStep::DeadLetter(DeadLetterReason::Unreadable);
        assert_eq!(after(&Error::unsupported("version 9"), 1), unreadable);
        let unhandled = next_step(&Error::not_found("no handler"), 1, POLICY, false, false, 0.0);
        assert_eq!(unhandled, unreadable);
    }

    #[test]
    fn a_handler_that_the_shutdown_cancels_returns_its_message() {
        let error = Error::cancelled("shutting down");
        assert_eq!(next_step(&error, 9, POLICY, true, true, 0.0), NextStep::Return);
        assert_eq!(after(&error, 1), NextStep::RunAgain, "its own doing is a failure");
        assert_eq!(after(&error, 3), NextStep::DeadLetter(DeadLetterReason::Exhausted));
    }
}
