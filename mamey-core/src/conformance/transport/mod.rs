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
mod routing;
mod subscribers;

pub use delivery::{
    a_dropped_delivery_comes_again, a_message_is_confirmed_when_it_is_safe,
    a_rejected_message_does_not_come_again, a_released_message_comes_again_in_its_place,
    messages_arrive_unchanged, order_holds_within_a_key,
};
pub use routing::{
    a_message_that_must_route_is_refused_without_subscribers, a_target_is_reached_alone,
    a_target_without_a_route_is_refused, an_event_without_subscribers_is_done,
    every_subscribing_context_gets_each_event, topologies_can_be_applied_again,
};
pub use subscribers::{
    a_cancelled_wait_loses_nothing, a_closed_transport_fails_all_calls,
    a_late_subscriber_gets_what_waits, a_replaced_subscriber_leaves_all_it_had,
    partitions_split_the_keys, unknown_contexts_cannot_subscribe,
    unsettled_deliveries_are_bounded_by_the_prefetch,
};

/// Expands to one test a case; takes the name of an async function that returns an empty
/// `Arc<dyn Transport>`.
///
/// The backend's crate needs `tokio` with `macros`, `rt-multi-thread` and `time` for its tests.
#[macro_export]
macro_rules! transport_conformance {
    ($transport:path) => {
        $crate::transport_conformance! { @cases $transport:
            a_dropped_delivery_comes_again
            a_message_is_confirmed_when_it_is_safe
            a_rejected_message_does_not_come_again
            a_released_message_comes_again_in_its_place
            messages_arrive_unchanged
            order_holds_within_a_key
            a_message_that_must_route_is_refused_without_subscribers
            a_target_is_reached_alone
            a_target_without_a_route_is_refused
            an_event_without_subscribers_is_done
            every_subscribing_context_gets_each_event
            topologies_can_be_applied_again
            a_cancelled_wait_loses_nothing
            a_closed_transport_fails_all_calls
            a_late_subscriber_gets_what_waits
            a_replaced_subscriber_leaves_all_it_had
            partitions_split_the_keys
            unknown_contexts_cannot_subscribe
            unsettled_deliveries_are_bounded_by_the_prefetch
        }
    };
    (@cases $transport:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let case = $crate::conformance::transport::$case($transport().await);
            // A message that never comes must fail the test, not hang it.
            let limit = std::time::Duration::from_secs(60);
            tokio::time::timeout(limit, case).await.expect("the case takes too long");
        }
    )*};
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("mod.rs").split("@cases").nth(1).unwrap();
        let files = [
            include_str!("delivery.rs"),
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
