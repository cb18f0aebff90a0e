//! Says why a declaration was refused: what is missing on the broker, or differs there.

use mamey_core::Error;

use super::own::PARTITIONS_ARGUMENT;
use crate::rabbitmq::error::{NOT_FOUND, PRECONDITION_FAILED, REFUSED, failed, reply_code};

/// A declaration failed. Where it differs from what exists, the error names field, ours and theirs.
pub(crate) fn not_declared(what: &str, cause: lapin::Error) -> Error {
    match reply_code(&cause) {
        Some(NOT_FOUND) => Error::misconfigured(format!(
            "{what} is not on the broker; have it made, or fix its name: {cause}"
        ))
        .with_source(cause),
        Some(PRECONDITION_FAILED) => drift(what, &cause.to_string()).with_source(cause),
        Some(code) if REFUSED.contains(&code) => Error::misconfigured(format!(
            "the broker refuses {what}; give the user the permission, or declare it beforehand: \
             {cause}"
        ))
        .with_source(cause),
        _ => failed(&format!("declaring {what}"), cause),
    }
}

fn drift(what: &str, text: &str) -> Error {
    let Some(Drift { field, ours, theirs }) = Drift::read(text) else {
        return Error::misconfigured(format!(
            "{what} exists and differs from what is declared here: {text}"
        ));
    };
    if field == PARTITIONS_ARGUMENT {
        return Error::misconfigured(format!(
            "{what} exists for another number of partitions: ours is {ours}, the broker's is \
             {theirs}. Keys would change their queue and lose their order: set \
             `MAMEY_PARTITIONS` back, or drain and delete the context's queues first"
        ));
    }
    Error::misconfigured(format!(
        "{what} exists with another `{field}`: ours is {ours}, the broker's is {theirs}. Fix \
         the option, or drain it and delete it on the broker"
    ))
}

/// Which argument of a declaration differs, from the broker's sentence about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drift<'a> {
    field: &'a str,
    ours: &'a str,
    pub(super) theirs: &'a str,
}

impl<'a> Drift<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (field, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once("received ")?;
        let (ours, theirs) = rest.split_once(" but current is ")?;
        Some(Self { field, ours: bare(ours), theirs: bare(theirs) })
    }
}

/// The broker adds the AMQP type to some values, which does not help the reader.
fn bare(value: &str) -> &str {
    let value = value.strip_prefix("the value ").unwrap_or(value);
    value.split_once(" of type ").map_or(value, |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifted_argument_is_named_with_both_values() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'payments.0' \
                    in vhost '/': received 'quorum' but current is 'classic'";
        let error = drift("queue `payments.0`", text).to_string();
        for word in ["payments.0", "`x-queue-type`", "ours is 'quorum'", "is 'classic'"] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(Drift::read("PRECONDITION_FAILED - something else"), None);
        let text = "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but \
                    current is the value '5' of type 'signedint'";
        let drift_read = Drift::read(text);
        assert_eq!(drift_read, Some(Drift { field: "x-max-length", ours: "none", theirs: "'5'" }));
        let error = drift("queue `payments.0`", "something else").to_string();
        assert!(error.contains("something else"), "{error}");
    }
}
