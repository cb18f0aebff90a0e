//! Decides what to do with a message whose handler failed.

use std::time::Duration;

use mamey_core::store::DeadLetterReason;
use mamey_core::{Error, ErrorKind, RetryPolicy};

/// What to do with a message whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NextStep {
    /// Run it again at once.
    RunAgain,
    /// Park it and its lane for this long.
    Park(Duration),
    /// Keep it as a dead letter, for a person to look at.
    DeadLetter(DeadLetterReason),
    /// Leave it where it came from: the handler was told to stop.
    Return,
}

/// What to do with a message after `attempts` failed runs, the last of them with `error`; the table
/// is the one of [`ErrorKind`].
///
/// `stopping` tells a handler that was cancelled by the shutdown from one that failed so by itself;
/// `random` is in `0.0..1.0` and spreads the pauses.
pub(super) fn next_step(
    error: &Error,
    attempts: u32,
    policy: RetryPolicy,
    stopping: bool,
    random: f64,
) -> NextStep {
    let park_or = |policy: RetryPolicy, reason| {
        let delay = policy.delay_after(attempts, random);
        delay.map_or(NextStep::DeadLetter(reason), NextStep::Park)
    };
    match error.kind() {
        ErrorKind::Cancelled if stopping => NextStep::Return,
        // Run again at once, it would meet the same build.
        ErrorKind::Unreadable => park_or(policy.with_immediate(0), DeadLetterReason::Unreadable),
        _ if error.is_final_for_messages() => NextStep::DeadLetter(DeadLetterReason::Refused),
        _ if policy.is_immediate_after(attempts) => NextStep::RunAgain,
        _ => park_or(policy, DeadLetterReason::Exhausted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::{Backoff, Retry};

    const POLICY: RetryPolicy = RetryPolicy::new(1, 1, Backoff::DEFAULT);
    const PARKED: NextStep = NextStep::Park(Backoff::DEFAULT.first);
    const REFUSED: NextStep = NextStep::DeadLetter(DeadLetterReason::Refused);
    const EXHAUSTED: NextStep = NextStep::DeadLetter(DeadLetterReason::Exhausted);
    const UNREADABLE: NextStep = NextStep::DeadLetter(DeadLetterReason::Unreadable);

    fn after(error: &Error, attempts: u32) -> NextStep {
        next_step(error, attempts, POLICY, false, 0.0)
    }

    fn steps(error: &Error) -> [NextStep; 3] {
        [1, 2, 3].map(|attempts| after(error, attempts))
    }

    #[test]
    fn a_failure_runs_again_then_parks_then_is_exhausted() {
        for error in [
            Error::timed_out("too slow"),
            Error::conflict("changed"),
            Error::not_found("no such order"),
            Error::already_exists("the name is taken"),
            Error::idempotency_key_reused("another request"),
            Error::unsupported("no requests here"),
            Error::misconfigured("no such bucket"),
            Error::limit_exceeded("too many"),
            Error::unroutable("nobody"),
            Error::unavailable("the bank does not answer"),
            Error::lease_lost("another has it"),
            Error::other("a bug"),
            Error::rejected("orders.closed", "come back later").with_retry(Retry::Later),
            Error::invalid("another build reads it").with_retry(Retry::Later),
        ] {
            assert_eq!(steps(&error), [NextStep::RunAgain, PARKED, EXHAUSTED], "{error:?}");
        }
    }

    #[test]
    fn only_what_the_handler_means_for_good_becomes_a_dead_letter_at_once() {
        for error in [
            Error::rejected("orders.empty", "no"),
            Error::invalid("a negative amount"),
            Error::not_found("and never will be").with_retry(Retry::Never),
            Error::unavailable("the account was closed").with_retry(Retry::Never),
        ] {
            assert_eq!(steps(&error), [REFUSED; 3], "{error:?}");
        }
    }

    #[test]
    fn what_this_build_cannot_read_is_parked_at_once_and_as_long_as_the_policy_says() {
        let error = Error::unreadable("version 9");
        let patient = POLICY.with_immediate(9).with_delayed(2);
        let step = |attempts, policy| next_step(&error, attempts, policy, false, 0.0);
        let doubled = NextStep::Park(Backoff::DEFAULT.first * 2);
        assert_eq!([1, 2, 3].map(|it| step(it, patient)), [PARKED, doubled, UNREADABLE]);
        assert_eq!(step(1, RetryPolicy::NEVER), UNREADABLE);
    }

    #[test]
    fn a_handler_that_the_shutdown_cancels_returns_its_message() {
        let error = Error::cancelled("shutting down");
        assert_eq!(next_step(&error, 9, POLICY, true, 0.0), NextStep::Return);
        assert_eq!(after(&error, 1), NextStep::RunAgain, "its own doing is a failure");
        assert_eq!(after(&error, 3), NextStep::DeadLetter(DeadLetterReason::Exhausted));
    }
}
