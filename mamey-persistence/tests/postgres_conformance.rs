//! The store on PostgreSQL keeps every promise of the ports, through a PgBouncer too.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use mamey_core::clock::{ManualClock, Timestamp};
use mamey_core::conformance::store::{self, Harness};
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::{postgres, require};

async fn harness(database: postgres::Database, url: &str) -> Harness {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let options = PostgresOptions { clock: Some(clock.clone()), ..PostgresOptions::default() };
    let store = PostgresDatabase::connect(url, options).await.unwrap();
    Harness::new(Arc::new(store), clock, database)
}

macro_rules! cases {
    ($($case:ident)*) => {
        mod directly {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = require!(postgres::database().await);
                let url = database.url().to_owned();
                store::$case(harness(database, &url).await).await;
            })*
        }

        mod through_pgbouncer {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = require!(postgres::database().await);
                let url = require!(database.pgbouncer_url()) + "?pgbouncer=true";
                store::$case(harness(database, &url).await).await;
            })*
        }
    };
}

cases! {
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

#[test]
fn every_case_is_run() {
    let cases = include_str!("../../mamey-core/src/conformance/store/mod.rs");
    let cases = cases.split("@cases $harness:").nth(1).unwrap().split('}').next().unwrap();
    let here = include_str!("postgres_conformance.rs");
    for case in cases.split_whitespace() {
        assert!(here.lines().any(|line| line.trim() == case), "`{case}` is not run");
    }
}
