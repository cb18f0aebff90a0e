//! What a transport must be able to do for a case to run, and how a case runs.

use mamey_core::capabilities::TransportCapabilities;

use super::harness::TransportHarness;
use crate::absent::Absent;
use crate::run;

/// What a transport must be able to do for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the case runs on every transport.
    Nothing,
    /// [`TransportCapabilities::durable`].
    Durability,
    /// [`TransportCapabilities::remote`].
    Reach,
    /// [`TransportCapabilities::ordered`].
    Order,
    /// [`TransportCapabilities::requests`].
    Requests,
    /// [`TransportCapabilities::rejected`].
    Rejected,
    /// [`TransportCapabilities::repartitions`].
    Repartitions,
}

impl Needs {
    /// What the transport lacks for a case, if it lacks anything.
    fn missing(self, from: &TransportCapabilities) -> Option<&'static str> {
        match self {
            Self::Durability if !from.durable => Some("a transport that is durable"),
            Self::Reach if !from.remote => Some("a transport that reaches other processes"),
            Self::Order if !from.ordered => Some("order by sender and key"),
            Self::Requests if !from.requests => Some("requests and replies"),
            Self::Rejected if !from.rejected => Some("lists of what was rejected"),
            Self::Repartitions if !from.repartitions => Some("other numbers of partitions"),
            _ => None,
        }
    }
}

/// Runs a case to its end, or says why it does not run; for the macro.
#[doc(hidden)]
pub fn run(
    name: &str,
    needs: Needs,
    harness: impl AsyncFnOnce() -> Result<TransportHarness, Absent>,
    case: impl AsyncFnOnce(TransportHarness),
) {
    run::to_the_end(name, harness, async |harness| {
        let capabilities = harness.transport.capabilities();
        match needs.missing(&capabilities) {
            Some(missing) => run::report_not_run(capabilities.name, name, missing),
            None => case(harness).await,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_runs_where_its_needs_are_met() {
        let ordered = TransportCapabilities::new("some", 1)
            .with_remote(true)
            .with_durable(true)
            .with_ordered(true)
            .with_requests(true);
        let unordered = ordered.with_ordered(false);
        assert_eq!(Needs::Order.missing(&ordered), None);
        assert!(Needs::Order.missing(&unordered).is_some());
        assert_eq!(Needs::Nothing.missing(&unordered), None);
        assert_eq!(Needs::Requests.missing(&ordered), None);
        let without_requests = ordered.with_requests(false);
        assert!(Needs::Requests.missing(&without_requests).is_some());
        assert!(Needs::Rejected.missing(&ordered).is_some());
        assert_eq!(Needs::Rejected.missing(&ordered.with_rejected(true)), None);
        assert!(Needs::Repartitions.missing(&ordered).is_some());
        assert_eq!(Needs::Repartitions.missing(&ordered.with_repartitions(true)), None);
        let local = ordered.with_remote(false).with_durable(false);
        for (needs, met) in [(Needs::Durability, &ordered), (Needs::Reach, &ordered)] {
            assert_eq!(needs.missing(met), None);
            assert!(needs.missing(&local).is_some());
        }
    }
}
