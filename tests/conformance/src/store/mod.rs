//! The store's suite: one function for each promise of the ports.
//!
//! [`store_conformance!`](crate::store_conformance) makes one test of each.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a promise that does not hold must end the test"
)]

pub mod coalescing;
pub mod connections;
pub mod criteria;
pub mod documents;
pub mod identity;
pub mod inbox;
pub mod indexes;
pub mod leases;
pub mod limits;
pub mod order;
pub mod outbox;
pub mod pages;
pub mod parking;
pub mod units;
pub mod values;

mod fixture;
mod harness;
mod needs;
mod random_values;
mod written;

pub use harness::StoreHarness;
pub use needs::Needs;
#[doc(hidden)]
pub use needs::run;

/// Makes one test of each case; takes the name of an async function that makes a [`StoreHarness`]
/// around an empty database, or says that its server is [`Absent`](crate::Absent).
///
/// A case that needs what the store's capabilities deny does not run, and [`report`](crate::report)
/// says so. The [crate's documentation](crate) has an example.
#[macro_export]
macro_rules! store_conformance {
    ($harness:path) => {
        $crate::store_conformance! { @cases $harness;
            Nothing, coalescing: units_together_equal_units_one_by_one;
            Nothing, criteria:
                comparisons_agree_with_their_definition
                fields_that_are_not_indexed_are_refused
                pages_neither_overlap_nor_skip
                pages_hold_while_others_insert_and_remove;
            Nothing, documents:
                a_conflict_keeps_nothing_of_its_unit
                a_context_is_opened_by_many_at_once
                a_guard_holds_a_decision
                an_id_is_taken_once
                concurrent_units_each_keep_their_outcome
                documents_survive_and_count_versions
                undeclared_collections_are_refused
                unique_values_are_held_once
                unique_values_move_within_a_unit;
            Nothing, identity:
                a_context_has_the_identity_of_its_database
                one_id_of_many_senders_takes_effect_for_each
                one_id_of_many_senders_waits_side_by_side;
            Nothing, inbox:
                a_message_takes_effect_once
                an_idempotency_key_takes_effect_once
                old_marks_are_forgotten;
            Nothing, leases:
                a_jumping_clock_leaves_one_holder
                another_number_of_partitions_is_refused
                expired_leases_are_taken_over_under_a_new_epoch
                partitions_are_shared_fairly
                retired_instances_leave_at_once;
            Nothing, limits: documents_are_kept_up_to_the_limit;
            Nothing, order:
                texts_are_ids
                values_compare_alike
                values_sort_alike
                zeros_are_equal;
            Nothing, outbox:
                a_record_is_held_and_deleted_only_as_itself
                an_unreadable_record_costs_itself_alone
                reads_keep_to_their_bytes
                commits_are_announced
                published_records_are_deleted_and_counted
                outbox_order_is_commit_order
                reads_keep_to_partitions_cursor_and_limit
                sequences_that_come_again_name_other_records
                stale_leases_delete_nothing
                the_outbox_is_complete_up_to_what_was_read;
            Nothing, pages:
                loads_keep_to_their_bytes
                pages_keep_to_their_bytes;
            Nothing, parking:
                an_unreadable_dead_letter_is_listed
                an_unreadable_parked_message_costs_its_lane_alone
                a_dead_letter_is_replayed_once_ahead_of_its_lane
                a_parked_lane_holds_its_successors
                dead_letters_are_listed_in_order
                parked_messages_are_taken_once
                retries_are_scheduled;
            Nothing, units: steps_on_one_document_have_their_result_on_paper;
            Nothing, values:
                documents_come_back_as_written
                messages_come_back_as_written
                replies_come_back_as_written;
            Nothing, indexes:
                an_index_added_later_finds_what_was_written_before
                an_index_finds_what_an_earlier_build_writes
                a_unique_field_added_later_holds_for_an_earlier_build;
            Durability, connections: what_was_committed_survives_closing;
            Sharing, connections: two_connections_share_one_context;
        }
    };
    (@cases $harness:path; $($needs:ident, $module:ident: $($case:ident)+;)+) => {$($(
        #[test]
        fn $case() {
            let case = $crate::store::$module::$case;
            $crate::store::run(stringify!($case), $crate::store::Needs::$needs, $harness, case);
        }
    )+)+};
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("mod.rs").split("macro_rules!").nth(1).unwrap();
        let files = [
            include_str!("coalescing.rs"),
            include_str!("connections.rs"),
            include_str!("criteria.rs"),
            include_str!("documents.rs"),
            include_str!("identity.rs"),
            include_str!("inbox.rs"),
            include_str!("indexes.rs"),
            include_str!("leases.rs"),
            include_str!("limits.rs"),
            include_str!("order.rs"),
            include_str!("outbox.rs"),
            include_str!("pages.rs"),
            include_str!("parking.rs"),
            include_str!("units.rs"),
            include_str!("values.rs"),
        ];
        let unlisted = crate::run::unlisted(list, &files);
        assert!(unlisted.is_empty(), "`store_conformance!` does not run {unlisted:?}");
    }
}
