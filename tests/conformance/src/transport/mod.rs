//! The transport's suite: one function for each promise of the ports.
//!
//! [`transport_conformance!`](crate::transport_conformance) makes one test of each.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a promise that does not hold must end the test"
)]

pub mod connections;
pub mod delivery;
pub mod instances;
pub mod limits;
pub mod partitions;
pub mod rejected;
pub mod requests;
pub mod routing;
pub mod subscribers;

mod fixture;
mod harness;
mod needs;
mod tally;

pub use harness::TransportHarness;
pub use needs::Needs;
#[doc(hidden)]
pub use needs::run;

/// Makes one test of each case; takes the name of an async function that makes a
/// [`TransportHarness`] around a transport that no context was applied to, or says that its server
/// is [`Absent`](crate::Absent).
///
/// A case that needs what the transport's capabilities deny does not run, and
/// [`report`](crate::report) says so. The [crate's documentation](crate) has an example.
#[macro_export]
macro_rules! transport_conformance {
    ($harness:path) => {
        $crate::transport_conformance! { @cases $harness;
            Nothing, delivery:
                a_dropped_delivery_is_redelivered
                a_message_is_confirmed_when_it_is_safe
                a_message_of_another_system_is_passed_on_unchanged
                a_rejected_message_is_not_redelivered
                messages_arrive_unchanged;
            Order, delivery:
                a_returned_message_is_redelivered_in_its_place
                a_second_message_of_a_key_waits_for_the_first
                order_holds_within_a_key;
            Order, instances: order_holds_while_partitions_move;
            Nothing, limits: messages_over_the_limit_are_refused;
            Nothing, routing:
                a_context_of_another_store_is_refused
                a_message_that_must_route_is_refused_without_subscribers
                a_target_is_reached_alone
                a_target_without_a_route_is_refused
                an_event_without_subscribers_is_done
                each_context_gets_the_messages_it_handles
                every_subscribing_context_gets_each_event
                topologies_can_be_applied_again;
            Nothing, subscribers:
                a_cancelled_wait_loses_nothing
                a_closed_subscription_resumes_where_it_ended
                a_closed_transport_fails_all_calls
                a_late_subscriber_gets_what_waits
                closing_ends_every_publish_that_has_begun
                many_subscribers_receive_at_once
                partitions_split_the_keys
                unknown_contexts_cannot_subscribe
                unsettled_deliveries_are_bounded_by_the_prefetch;
            Order, subscribers: unsettled_deliveries_go_to_the_next_subscriber;
            Requests, requests:
                a_late_reply_is_counted_and_dropped
                a_request_gets_its_reply
                a_request_that_nobody_serves_is_unroutable
                a_responder_that_panics_fails_its_request_alone
                a_responder_that_stops_answers_what_it_has_taken
                closing_ends_every_request_that_waits
                requests_in_flight_get_their_own_replies;
            Rejected, rejected:
                a_discarded_message_is_gone
                a_rejected_message_is_listed_with_its_bytes_and_its_reason
                a_replayed_message_reaches_its_context_alone
                a_replayed_message_that_is_rejected_again_is_listed_again
                listing_often_loses_nothing
                rejected_messages_are_listed_in_pages;
            Repartitions, partitions: messages_survive_another_number_of_partitions;
            Durability, connections: what_was_confirmed_survives_closing;
            Reach, connections: messages_reach_another_connection;
        }
    };
    (@cases $harness:path; $($needs:ident, $module:ident: $($case:ident)+;)+) => {$($(
        #[test]
        fn $case() {
            let needs = $crate::transport::Needs::$needs;
            let case = $crate::transport::$module::$case;
            $crate::transport::run(stringify!($case), needs, $harness, case);
        }
    )+)+};
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("mod.rs").split("macro_rules!").nth(1).unwrap();
        let files = [
            include_str!("connections.rs"),
            include_str!("delivery.rs"),
            include_str!("instances.rs"),
            include_str!("limits.rs"),
            include_str!("partitions.rs"),
            include_str!("rejected.rs"),
            include_str!("requests.rs"),
            include_str!("routing.rs"),
            include_str!("subscribers.rs"),
        ];
        let unlisted = crate::run::unlisted(list, &files);
        assert!(unlisted.is_empty(), "`transport_conformance!` does not run {unlisted:?}");
    }
}
