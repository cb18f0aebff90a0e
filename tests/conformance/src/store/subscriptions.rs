//! Subscriptions: what builds have declared of messages, since when and until when.

use std::time::Duration;

use mamey_core::message::{ContextName, Envelope, Partition};
use mamey_core::store::{
    AWAITED_FOR, CommitOutcome, DECLARED_EVERY, Declaration, Declared, Origin, Outcome, Store,
    Subscriber, Subscription,
};

use super::fixture::{commit, message, park, receiving};
use super::harness::StoreHarness;

const TAKEN: &str = "payments.taken";
const REFUNDED: &str = "payments.refunded";

async fn handles(store: &dyn Store, names: &[&'static str]) {
    store.declare_subscriptions(&Declaration::new(names.to_vec(), Vec::new())).await.unwrap();
}

async fn ignores(store: &dyn Store, names: &[&'static str]) {
    store.declare_subscriptions(&Declaration::new(Vec::new(), names.to_vec())).await.unwrap();
}

async fn of(store: &dyn Store, name: &str) -> Option<Subscription> {
    let mut found = store.subscriptions(&[name]).await.unwrap();
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

fn ago(since: Duration, last: Duration) -> Declared {
    Declared::new(since, last)
}

/// Builds that handle and builds that ignore a message are remembered side by side, each context for
/// itself.
pub async fn declarations_are_remembered_by_context_and_name(harness: StoreHarness) {
    let (store, other) = (harness.store().await, harness.context("payments").await);
    let beside = harness.store().await;
    let now = Duration::ZERO;
    assert_eq!(of(&*store, TAKEN).await, None);
    handles(&*store, &[]).await;
    handles(&*store, &[REFUNDED, TAKEN]).await;
    let taken = Subscription::new(TAKEN).with_handled(ago(now, now));
    assert_eq!(of(&*beside, TAKEN).await, Some(taken.clone()), "all opens see it at once");
    assert_eq!(of(&*other, TAKEN).await, None);
    harness.clock.advance(DECLARED_EVERY);
    ignores(&*beside, &[TAKEN]).await;
    let both = Subscription::new(TAKEN)
        .with_handled(ago(DECLARED_EVERY, DECLARED_EVERY))
        .with_ignored(ago(now, now));
    assert_eq!(of(&*store, TAKEN).await, Some(both));
    harness.clock.advance(DECLARED_EVERY);
    handles(&*store, &[TAKEN]).await;
    let again = Subscription::new(TAKEN)
        .with_handled(ago(DECLARED_EVERY * 2, now))
        .with_ignored(ago(DECLARED_EVERY, DECLARED_EVERY));
    let mut all = store.subscriptions(&["payments.none", REFUNDED, TAKEN]).await.unwrap();
    all.sort_by(|one, two| one.name.cmp(&two.name));
    let refunded = ago(DECLARED_EVERY * 2, DECLARED_EVERY * 2);
    assert_eq!(all, [Subscription::new(REFUNDED).with_handled(refunded), again]);
}

/// A declaration that was not repeated for long is a new decision, and a clock that goes back takes
/// nothing from one.
pub async fn a_pause_begins_a_new_time(harness: StoreHarness) {
    let store = harness.store().await;
    handles(&*store, &[TAKEN]).await;
    ignores(&*store, &[TAKEN]).await;
    harness.clock.advance(AWAITED_FOR);
    handles(&*store, &[TAKEN]).await;
    harness.clock.advance(DECLARED_EVERY);
    ignores(&*store, &[TAKEN]).await;
    let handled = ago(AWAITED_FOR + DECLARED_EVERY, DECLARED_EVERY);
    let ignored = ago(Duration::ZERO, Duration::ZERO);
    let both = Subscription::new(TAKEN).with_handled(handled).with_ignored(ignored);
    assert_eq!(of(&*store, TAKEN).await, Some(both));
    let now = harness.now();
    harness.clock.set(now.minus(AWAITED_FOR * 3));
    handles(&*store, &[TAKEN]).await;
    harness.clock.set(now);
    let after = of(&*store, TAKEN).await.unwrap().handled.unwrap();
    assert_eq!(after.last, DECLARED_EVERY);
}

/// What is handled over an in-process transport is known to all contexts of the database, with the
/// context; what is reached from other processes is not among it.
pub async fn subscribers_of_all_contexts_are_known(harness: StoreHarness) {
    let (store, other) = (harness.store().await, harness.context("payments").await);
    let in_process = |names: &[&'static str], ignores: &[&'static str]| {
        Declaration::new(names.to_vec(), ignores.to_vec()).with_in_process(true)
    };
    assert_eq!(store.subscribers().await.unwrap(), []);
    store.declare_subscriptions(&in_process(&[TAKEN], &[REFUNDED])).await.unwrap();
    other.declare_subscriptions(&in_process(&[TAKEN, REFUNDED], &[])).await.unwrap();
    harness.clock.advance(DECLARED_EVERY);
    other.declare_subscriptions(&in_process(&[], &[TAKEN])).await.unwrap();
    handles(&*other, &[REFUNDED]).await;
    let before = ago(DECLARED_EVERY, DECLARED_EVERY);
    let taken = Subscription::new(TAKEN).with_handled(before);
    let name = |name| ContextName::new(name).unwrap();
    let expected = [
        Subscriber::new(name("orders"), taken.clone()),
        Subscriber::new(name("payments"), taken.with_ignored(ago(Duration::ZERO, Duration::ZERO))),
    ];
    for store in [store, other] {
        let mut known = store.subscribers().await.unwrap();
        known.sort_by(|one, two| one.context.as_str().cmp(two.context.as_str()));
        assert_eq!(known, expected);
    }
}

/// A message that is parked for another context waits there once, behind its lane, and counts as
/// received there.
pub async fn a_message_is_parked_once_for_another_context_in_the_order_of_its_lane(
    harness: StoreHarness,
) {
    let (store, other) = (harness.store().await, harness.context("payments").await);
    let all = Partition::all(4).unwrap();
    let payments = ContextName::new("payments").unwrap();
    handles(&*other, &[TAKEN]).await;
    let (first, second, lone) =
        (message(1, Some("order-1")), message(2, Some("order-1")), message(3, None));
    commit(&*other, receiving(&first, Origin::Delivery, park(DECLARED_EVERY, 1))).await;
    for sent in [&second, &lone, &second, &first] {
        store.park_for(&payments, sent).await.unwrap();
    }
    let due = async || -> Vec<Envelope> {
        let due = other.due_parked(&all, 10).await.unwrap();
        due.into_iter().map(|parked| parked.envelope).collect()
    };
    assert_eq!(due().await, [lone.clone()], "the other waits behind its lane");
    assert_eq!(other.parked_count().await.unwrap(), 3);
    assert_eq!(store.parked_count().await.unwrap(), 0);
    harness.clock.advance(DECLARED_EVERY);
    commit(&*other, receiving(&first, Origin::Parked, Outcome::Handled)).await;
    commit(&*other, receiving(&lone, Origin::Parked, Outcome::Handled)).await;
    assert_eq!(due().await, [second.clone()]);
    let again = receiving(&second, Origin::Delivery, Outcome::Handled);
    assert_eq!(other.commit(again).await.unwrap(), CommitOutcome::Duplicate);
    commit(&*other, receiving(&second, Origin::Parked, Outcome::Handled)).await;
    store.park_for(&payments, &second).await.unwrap();
    assert_eq!(other.parked_count().await.unwrap(), 0, "it was handled");
    let nowhere = ContextName::new("nowhere").unwrap();
    assert!(store.park_for(&nowhere, &lone).await.is_err());
}
