//! The store goes down in the middle of each kind of call, and comes back.

use std::ops::Range;

use mamey::clock::Clock;
use mamey::store::{DeadLetterReason, LeaseRole};
use mamey::transport::RejectReason;
use mamey::{ErrorKind, RetryPolicy};

use crate::domain::{Emissions, Emit, Fault, quick_retries};
use crate::faults::{Call, Moment, Until};
use crate::fleet::{Fleet, LEASE, patient_retries};
use crate::on_each_fleet;
use crate::world::{On, until};

on_each_fleet! {
    an_outage_before_the_commit_of_an_effect_costs_no_retry
    an_outage_after_the_commit_of_an_effect_costs_no_retry
    an_outage_that_ends_between_a_failure_and_the_ping_costs_no_retry
    a_commit_whose_answer_is_lost_takes_effect_once
    an_outage_around_parking_keeps_the_order
    an_outage_around_a_dead_letter_keeps_it_once
    retries_after_an_outage_are_counted_as_if_there_was_none
    an_outage_around_the_confirmation_publishes_once
    an_outage_that_outlives_the_leases_is_survived
    an_instance_that_lost_its_store_is_replaced_and_comes_back
    a_command_whose_answer_is_lost_replies_the_same_again
    a_store_that_fails_at_random_loses_nothing_and_repeats_nothing
    what_a_store_can_never_keep_waits_in_the_outbox_and_is_replayed
}

const NUMBERS: i64 = 12;
const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

/// After this many failed calls, everything that runs has met the outage.
const REFUSED_ENOUGH: usize = 12;

async fn one_instance(on: On, retry: RetryPolicy) -> Fleet {
    let mut fleet = Fleet::new(on, 4).await;
    fleet.retry = retry;
    fleet.clock.start();
    fleet.join().await;
    fleet
}

/// Waits until the store has gone down and many calls have failed.
async fn meet_outage(fleet: &Fleet) {
    let faults = &fleet.instances[0].faults;
    until("the store goes down", async || faults.has_tripped()).await;
    until("the outage is met", async || faults.refused() >= REFUSED_ENOUGH).await;
}

async fn end_outage(fleet: &Fleet) {
    meet_outage(fleet).await;
    fleet.instances[0].faults.up();
}

/// The handlers are held until everything is committed: only what happens afterwards meets the
/// outage.
async fn emit_into_outage(
    fleet: &Fleet,
    streams: usize,
    numbers: Range<i64>,
    call: Call,
    moment: Moment,
) {
    fleet.script.hold();
    fleet.emit(streams, numbers).await;
    fleet.instances[0].faults.trip(call, moment, Until::Up);
    fleet.script.let_go();
}

/// With this policy the first failure that counts is final.
async fn handle_through_outage(on: On, moment: Moment) {
    let fleet = one_instance(on, RetryPolicy::NEVER).await;
    let faults = &fleet.instances[0].faults;
    emit_into_outage(&fleet, 1, 0..1, Call::CommitHandled, moment).await;
    until("the outage is met again", async || faults.refused_pings() > 1).await;
    faults.up();
    fleet.emit(1, 1..NUMBERS).await;
    fleet.check(1, NUMBERS).await;
}

async fn an_outage_before_the_commit_of_an_effect_costs_no_retry(on: On) {
    handle_through_outage(on, Moment::Before).await;
}

async fn an_outage_after_the_commit_of_an_effect_costs_no_retry(on: On) {
    handle_through_outage(on, Moment::After).await;
}

async fn an_outage_that_ends_between_a_failure_and_the_ping_costs_no_retry(on: On) {
    let fleet = one_instance(on, RetryPolicy::NEVER).await;
    let faults = &fleet.instances[0].faults;
    for call in [Call::CommitHandled, Call::Ping, Call::CommitHandled] {
        faults.trip(call, Moment::Before, Until::NextCall);
    }
    fleet.emit(1, 0..NUMBERS).await;
    fleet.check(1, NUMBERS).await;
    assert!(faults.has_tripped());
}

async fn a_commit_whose_answer_is_lost_takes_effect_once(on: On) {
    let fleet = one_instance(on, RetryPolicy::NEVER).await;
    let faults = &fleet.instances[0].faults;
    for number in 0..NUMBERS {
        faults.trip(Call::CommitHandled, Moment::After, Until::NextCall);
        fleet.emit(2, number..number + 1).await;
        until("the answer is lost", async || faults.has_tripped()).await;
    }
    fleet.check(2, NUMBERS).await;
}

async fn an_outage_around_parking_keeps_the_order(on: On) {
    for moment in MOMENTS {
        let fleet = one_instance(on, quick_retries()).await;
        // Two immediate runs; then it is parked, fails again, and is parked again.
        fleet.script.fault(0, Fault::Fail, 3);
        emit_into_outage(&fleet, 1, 0..NUMBERS, Call::CommitParked, moment).await;
        meet_outage(&fleet).await;
        fleet.instances[0].faults.trip(Call::CommitParked, moment, Until::Up);
        fleet.instances[0].faults.up();
        end_outage(&fleet).await;
        fleet.check(1, NUMBERS).await;
    }
}

async fn an_outage_around_a_dead_letter_keeps_it_once(on: On) {
    for moment in MOMENTS {
        let fleet = one_instance(on, quick_retries()).await;
        fleet.script.fault(0, Fault::Refuse, 1);
        emit_into_outage(&fleet, 1, 0..NUMBERS, Call::CommitDeadLetter, moment).await;
        end_outage(&fleet).await;
        fleet.instances[0].service.wait_until_idle().await.unwrap();
        assert_eq!(fleet.received(0).await, (1..NUMBERS).collect::<Vec<i64>>());
        let store = fleet.instances[0].service.store("receiver").unwrap();
        let letters = store.dead_letters(None, 10).await.unwrap();
        assert_eq!(letters.len(), 1, "{moment:?}: {letters:?}");
        assert_eq!((letters[0].reason, letters[0].attempts), (DeadLetterReason::Refused, 1));
    }
}

async fn retries_after_an_outage_are_counted_as_if_there_was_none(on: On) {
    for moment in MOMENTS {
        let fleet = one_instance(on, quick_retries()).await;
        fleet.script.fault(0, Fault::Fail, u32::MAX);
        emit_into_outage(&fleet, 1, 0..1, Call::CommitParked, moment).await;
        end_outage(&fleet).await;
        let store = fleet.instances[0].service.store("receiver").unwrap();
        let count = async || store.dead_letter_count().await.unwrap();
        until("the retries are used up", async || count().await > 0).await;
        let letters = store.dead_letters(None, 10).await.unwrap();
        assert_eq!(letters.len(), 1, "{moment:?}: {letters:?}");
        assert_eq!(letters[0].reason, DeadLetterReason::Exhausted, "{moment:?}");
        assert_eq!(letters[0].attempts, 5, "{moment:?}: two immediate runs, three delayed");
        assert_eq!(letters[0].failure.kind, "other", "{moment:?}: {letters:?}");
    }
}

async fn an_outage_around_the_confirmation_publishes_once(on: On) {
    for moment in MOMENTS {
        let fleet = one_instance(on, patient_retries()).await;
        emit_into_outage(&fleet, 3, 0..NUMBERS, Call::ConfirmOutbox, moment).await;
        end_outage(&fleet).await;
        fleet.check(3, NUMBERS).await;
    }
}

async fn an_outage_that_outlives_the_leases_is_survived(on: On) {
    let fleet = one_instance(on, RetryPolicy::NEVER).await;
    fleet.balanced().await;
    fleet.script.hold();
    fleet.emit(1, 0..NUMBERS).await;
    let faults = &fleet.instances[0].faults;
    faults.trip(Call::RenewLeases, Moment::Before, Until::Up);
    until("the store goes down", async || faults.has_tripped()).await;
    fleet.script.let_go();
    let expired = fleet.clock.now().plus(LEASE + LEASE / 2);
    until("the leases have expired", async || fleet.clock.now() > expired).await;
    until("the handler has met the outage", async || faults.refused_pings() > 1).await;
    faults.up();
    fleet.check(1, NUMBERS).await;
}

/// An instance keeps running without its store while another takes its place. It comes back with
/// handlers that ran under leases that have expired since.
async fn an_instance_that_lost_its_store_is_replaced_and_comes_back(on: On) {
    const STREAMS: usize = 8;
    let mut fleet = one_instance(on, RetryPolicy::NEVER).await;
    fleet.join().await;
    fleet.balanced().await;
    fleet.script.hold();
    fleet.emit(STREAMS, 0..4).await;
    until("every stream has a running handler", async || fleet.script.held() == STREAMS).await;
    let cut_off = fleet.instances.remove(0);
    cut_off.faults.down();
    // The other one now runs the streams of the first again.
    fleet.balanced().await;
    until("all run twice", async || fleet.script.held() > STREAMS).await;
    fleet.emit(STREAMS, 4..8).await;
    fleet.script.let_go();
    fleet.check(STREAMS, 8).await;
    cut_off.faults.up();
    fleet.instances.push(cut_off);
    fleet.balanced().await;
    fleet.emit(STREAMS, 8..NUMBERS).await;
    fleet.check(STREAMS, NUMBERS).await;
    for role in [LeaseRole::Relay, LeaseRole::Consumer] {
        assert_eq!(fleet.instances[1].faults.held("receiver", role), 2);
    }
}

async fn a_command_whose_answer_is_lost_replies_the_same_again(on: On) {
    let fleet = one_instance(on, RetryPolicy::NEVER.with_immediate(3)).await;
    let (service, faults) = (&fleet.instances[0].service, &fleet.instances[0].faults);
    let emit = |number, key: &str| {
        let command = Emit { stream: "s0".into(), number };
        let request = service.send(command).idempotency_key(key);
        async move { request.await }
    };
    faults.trip(Call::CommitCommand, Moment::After, Until::Up);
    let error = emit(0, "first").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    faults.up();
    let error = emit(77, "first").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdempotencyKeyReused, "{error}");
    assert_eq!(emit(0, "first").await.unwrap(), 0, "the reply of the lost call");
    // What is still on its way would meet the next outage.
    fleet.check(1, 1).await;
    faults.trip(Call::CommitCommand, Moment::After, Until::NextCall);
    assert_eq!(emit(1, "second").await.unwrap(), 1, "the reply is found at once");
    fleet.check(1, 2).await;
    faults.trip(Call::CommitCommand, Moment::Before, Until::Up);
    emit(2, "third").await.unwrap_err();
    faults.up();
    assert_eq!(emit(2, "third").await.unwrap(), 2, "nothing had happened yet");
    assert_eq!(service.query(Emissions("s0".into())).await.unwrap(), [0, 1, 2]);
    fleet.check(1, 3).await;
}

async fn a_store_that_fails_at_random_loses_nothing_and_repeats_nothing(on: On) {
    let mut fleet = Fleet::new(on, 4).await;
    fleet.clock.start();
    fleet.join().await;
    fleet.join().await;
    for instance in &fleet.instances {
        instance.faults.flicker(5);
    }
    let emit_all = |stream: usize| {
        let fleet = &fleet;
        async move {
            for number in 0..NUMBERS {
                let instance = (number as usize + stream) % 2;
                emit_until_done(fleet, instance, stream, number).await;
            }
        }
    };
    futures_util::future::join_all((0..6).map(emit_all)).await;
    for instance in &fleet.instances {
        instance.faults.flicker(0);
    }
    fleet.check(6, NUMBERS).await;
}

async fn what_a_store_can_never_keep_waits_in_the_outbox_and_is_replayed(on: On) {
    let fleet = one_instance(on, RetryPolicy::NEVER).await;
    let (service, faults) = (&fleet.instances[0].service, &fleet.instances[0].faults);
    let rejected = service.rejected("receiver").unwrap();
    faults.refuse(true);
    fleet.emit(2, 0..2).await;
    until("both keys' first are rejected", async || rejected.count().await.unwrap() == 2).await;
    let listed = rejected.list(None, 10).await.unwrap();
    for message in &listed {
        assert_eq!(
            (message.reason, message.context.as_str()),
            (RejectReason::Unstorable, "receiver")
        );
        assert_eq!(message.detail, "the store can never keep it");
        assert!(!message.payload.is_empty() && !message.headers.is_empty());
    }
    let totals = service.totals().await.unwrap();
    assert_eq!((totals.waiting, totals.published), (4, 0), "they stay in the outbox");
    assert_eq!(totals.rejected.unstorable, 2, "an operator decides before they are tried again");
    // A replay before the fix comes back.
    assert_eq!(rejected.replay(&[listed[0].id]).await.unwrap(), 1);
    let again = async || service.totals().await.unwrap().rejected.unstorable > 2;
    until("it is rejected again", again).await;
    faults.refuse(false);
    let fixed = async || {
        let ids: Vec<_> = rejected.list(None, 10).await.unwrap().iter().map(|it| it.id).collect();
        rejected.replay(&ids).await.unwrap();
        fleet.arrived(2).await == 4
    };
    until("everything is replayed", fixed).await;
    fleet.check(2, 2).await;
    assert_eq!(rejected.count().await.unwrap(), 0);
    assert_eq!(service.rejected("nobody").err().unwrap().kind(), ErrorKind::NotFound);
}

/// Repeats a command under one key until its outcome is known.
async fn emit_until_done(fleet: &Fleet, instance: usize, stream: usize, number: i64) {
    let (stream, key) = (crate::fleet::name(stream), format!("{stream}/{number}"));
    let service = &fleet.instances[instance].service;
    until("the command is done", async || {
        let command = Emit { stream: stream.clone(), number };
        match service.send(command).idempotency_key(&key).await {
            Ok(reply) => reply == number,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                false
            }
        }
    })
    .await;
}
