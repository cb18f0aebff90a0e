//! The store's suite: one function a promise of the ports, free of any runtime.
//!
//! A backend writes an async function that makes a [`Harness`] and hands it to
//! [`store_conformance!`](crate::store_conformance), which expands to one test a case.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a promise that does not hold must end the test"
)]

mod coalescing;
mod criteria;
mod documents;
mod fixture;
mod inbox;
mod leases;
mod outbox;
mod parking;

pub use coalescing::units_together_equal_units_one_by_one;
pub use criteria::{
    comparisons_agree_with_their_definition, fields_that_are_not_indexed_are_refused,
    pages_hold_while_others_insert_and_remove, pages_neither_overlap_nor_skip,
};
pub use documents::{
    a_conflict_keeps_nothing_of_its_unit, a_context_is_opened_by_many_at_once,
    a_guard_holds_a_decision, an_id_is_taken_once, concurrent_units_each_keep_their_outcome,
    documents_survive_and_count_versions, undeclared_collections_are_refused,
    unique_values_are_held_once, unique_values_move_within_a_unit,
};
pub use fixture::Harness;
pub use inbox::{
    a_message_takes_effect_once, an_idempotency_key_takes_effect_once, old_marks_are_forgotten,
};
pub use leases::{
    a_jumping_clock_leaves_one_holder, another_number_of_partitions_is_refused,
    expired_leases_are_taken_over_under_a_new_epoch, partitions_are_shared_fairly,
    retired_instances_leave_at_once,
};
pub use outbox::{
    commits_are_announced, confirmed_records_leave_and_are_counted, outbox_order_is_commit_order,
    reads_keep_to_partitions_cursor_and_limit, stale_leases_confirm_nothing,
};
pub use parking::{
    a_dead_letter_is_replayed_once_ahead_of_its_lane, a_parked_lane_holds_its_successors,
    dead_letters_are_listed_in_order, parked_messages_are_taken_once, retries_are_scheduled,
};

/// Expands to one test a case; takes the name of an async function that returns a [`Harness`], or
/// an `Option` of one: without a server there is none, and the case is skipped.
///
/// The backend's crate needs `tokio` with `macros` and `rt-multi-thread` for its tests.
#[macro_export]
macro_rules! store_conformance {
    ($harness:path) => {
        $crate::store_conformance! { @cases $harness:
            units_together_equal_units_one_by_one
            comparisons_agree_with_their_definition
            fields_that_are_not_indexed_are_refused
            pages_neither_overlap_nor_skip
            pages_hold_while_others_insert_and_remove
            a_conflict_keeps_nothing_of_its_unit
            a_context_is_opened_by_many_at_once
            a_guard_holds_a_decision
            an_id_is_taken_once
            concurrent_units_each_keep_their_outcome
            documents_survive_and_count_versions
            undeclared_collections_are_refused
            unique_values_are_held_once
            unique_values_move_within_a_unit
            a_message_takes_effect_once
            an_idempotency_key_takes_effect_once
            old_marks_are_forgotten
            a_jumping_clock_leaves_one_holder
            another_number_of_partitions_is_refused
            expired_leases_are_taken_over_under_a_new_epoch
            partitions_are_shared_fairly
            retired_instances_leave_at_once
            commits_are_announced
            confirmed_records_leave_and_are_counted
            outbox_order_is_commit_order
            reads_keep_to_partitions_cursor_and_limit
            stale_leases_confirm_nothing
            a_dead_letter_is_replayed_once_ahead_of_its_lane
            a_parked_lane_holds_its_successors
            dead_letters_are_listed_in_order
            parked_messages_are_taken_once
            retries_are_scheduled
        }
    };
    (@cases $harness:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            use $crate::store::{self, Harness};
            let harness: Option<Harness> = $harness().await.into();
            let Some(harness) = harness else { return };
            store::$case(harness).await;
        }
    )*};
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("mod.rs").split("@cases").nth(1).unwrap();
        let files = [
            include_str!("coalescing.rs"),
            include_str!("criteria.rs"),
            include_str!("documents.rs"),
            include_str!("inbox.rs"),
            include_str!("leases.rs"),
            include_str!("outbox.rs"),
            include_str!("parking.rs"),
        ];
        for line in files.into_iter().flat_map(str::lines) {
            if let Some(case) = line.strip_prefix("pub async fn ") {
                let case = case.split('(').next().unwrap();
                let listed = list.lines().any(|line| line.trim() == case);
                assert!(listed, "`{case}` is not run by `store_conformance!`");
            }
        }
    }
}
