//! The transport's suite: one function a promise of the ports, free of any runtime.
//!
//! A backend writes an async function that makes an empty transport and hands it to
//! [`transport_conformance!`](crate::transport_conformance), which expands to one test a case.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a promise that does not hold must end the test"
)]

mod delivery;
mod fixture;
mod instances;
mod requests;
mod routing;
mod subscribers;
mod tally;

use crate::report::report;
use mamey_core::capabilities::TransportCapabilities;

#[doc(hidden)]
pub use mamey_core::transport::Transport;

pub use delivery::{
    a_dropped_delivery_comes_again, a_message_is_confirmed_when_it_is_safe,
    a_rejected_message_does_not_come_again, a_released_message_comes_again_in_its_place,
    a_second_message_of_a_key_waits_for_the_first, messages_arrive_unchanged,
    order_holds_within_a_key,
};
pub use instances::order_holds_while_partitions_move;
pub use requests::{
    a_late_reply_is_counted_and_dropped, a_request_gets_its_reply,
    a_request_that_nobody_serves_is_unroutable, a_responder_that_panics_fails_its_request_alone,
    closing_ends_every_request_that_waits, requests_in_flight_get_their_own_replies,
    who_stops_serving_answers_what_it_has_taken,
};
pub use routing::{
    a_message_that_must_route_is_refused_without_subscribers, a_target_is_reached_alone,
    a_target_without_a_route_is_refused, an_event_without_subscribers_is_done,
    each_context_gets_the_messages_it_handles, every_subscribing_context_gets_each_event,
    topologies_can_be_applied_again,
};
pub use subscribers::{
    a_cancelled_wait_loses_nothing, a_closed_subscription_resumes_where_it_ended,
    a_closed_transport_fails_all_calls, a_late_subscriber_gets_what_waits,
    a_replaced_subscriber_leaves_all_it_had, closing_ends_every_publish_that_has_begun,
    many_subscribers_receive_at_once, partitions_split_the_keys, unknown_contexts_cannot_subscribe,
    unsettled_deliveries_are_bounded_by_the_prefetch,
};

/// What a transport must be able to do for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the case runs on every transport.
    Nothing,
    /// [`TransportCapabilities::ordered`].
    Order,
    /// [`TransportCapabilities::requests`].
    Requests,
}

impl Needs {
    /// Whether the case runs; it is reported when it does not.
    #[must_use]
    pub fn are_met(self, case: &str, by: &TransportCapabilities) -> bool {
        let missing = match self {
            Self::Order if !by.ordered => "order by sender and key",
            Self::Requests if !by.requests => "requests and replies",
            Self::Nothing | Self::Order | Self::Requests => return true,
        };
        report(by.name, &format!("{case}: did not run, because this transport lacks {missing}"));
        false
    }
}

/// Expands to one test a case; takes the name of an async function that returns an empty
/// `Arc<dyn Transport>`, or an `Option` of one: without a server there is none, and the case is
/// skipped. Cases that need what the transport's capabilities deny do not run, which
/// [`report`](crate::report) says.
///
/// The backend's crate needs `tokio` with `macros`, `rt-multi-thread` and `time` for its tests.
#[macro_export]
macro_rules! transport_conformance {
    ($transport:path) => {
        $crate::transport_conformance! { @cases $transport, Nothing:
            a_dropped_delivery_comes_again
            a_message_is_confirmed_when_it_is_safe
            a_rejected_message_does_not_come_again
            messages_arrive_unchanged
            a_message_that_must_route_is_refused_without_subscribers
            a_target_is_reached_alone
            a_target_without_a_route_is_refused
            an_event_without_subscribers_is_done
            each_context_gets_the_messages_it_handles
            every_subscribing_context_gets_each_event
            topologies_can_be_applied_again
            a_cancelled_wait_loses_nothing
            a_closed_subscription_resumes_where_it_ended
            a_closed_transport_fails_all_calls
            a_late_subscriber_gets_what_waits
            closing_ends_every_publish_that_has_begun
            many_subscribers_receive_at_once
            partitions_split_the_keys
            unknown_contexts_cannot_subscribe
            unsettled_deliveries_are_bounded_by_the_prefetch
        }
        $crate::transport_conformance! { @cases $transport, Order:
            a_released_message_comes_again_in_its_place
            a_second_message_of_a_key_waits_for_the_first
            order_holds_within_a_key
            order_holds_while_partitions_move
            a_replaced_subscriber_leaves_all_it_had
        }
        $crate::transport_conformance! { @cases $transport, Requests:
            a_late_reply_is_counted_and_dropped
            a_request_gets_its_reply
            a_request_that_nobody_serves_is_unroutable
            a_responder_that_panics_fails_its_request_alone
            closing_ends_every_request_that_waits
            requests_in_flight_get_their_own_replies
            who_stops_serving_answers_what_it_has_taken
        }
    };
    (@cases $transport:path, $needs:ident: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            use $crate::transport::{self, Needs};
            let transport: Option<std::sync::Arc<dyn transport::Transport>> =
                $transport().await.into();
            let Some(transport) = transport else { return };
            if !Needs::$needs.are_met(stringify!($case), &transport.capabilities()) {
                return;
            }
            // A message that never comes must fail the test, not hang it.
            let limit = std::time::Duration::from_secs(60);
            let case = transport::$case(transport);
            tokio::time::timeout(limit, case).await.expect("the case takes too long");
        }
    )*};
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
        assert!(Needs::Order.are_met("a_case", &ordered));
        assert!(!Needs::Order.are_met("a_case", &unordered));
        assert!(Needs::Nothing.are_met("a_case", &unordered));
        assert!(Needs::Requests.are_met("a_case", &ordered));
        let without_requests = ordered.with_requests(false);
        assert!(!Needs::Requests.are_met("a_case", &without_requests));
    }

    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("mod.rs").split("macro_rules!").nth(1).unwrap();
        let files = [
            include_str!("delivery.rs"),
            include_str!("instances.rs"),
            include_str!("requests.rs"),
            include_str!("routing.rs"),
            include_str!("subscribers.rs"),
        ];
        for line in files.into_iter().flat_map(str::lines) {
            if let Some(case) = line.strip_prefix("pub async fn ") {
                let case = case.split('(').next().unwrap();
                let listed = list.lines().any(|line| line.trim() == case);
                assert!(listed, "`{case}` is not run by `transport_conformance!`");
            }
        }
    }
}
