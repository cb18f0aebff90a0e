//! Documents and their commits: versions, conflicts, guards, unique values, all or nothing.

use futures_util::future::join_all;
use mamey_core::ErrorKind;
use mamey_core::criteria::{Filter, Find, Value};
use mamey_core::store::{CommitOutcome, Expected, Guard, LOAD_BYTES_MAX, Origin, Outcome};

use super::fixture::{
    ITEMS, NOTES, STRANGERS, assert_kind, commit, fail, load_item, load_note, message, nothing,
    put_item, put_note, receiving, remove, text, uuid, with_email, writes,
};
use super::harness::StoreHarness;

/// A document comes back as it was put, with a version that counts the puts, until it is removed.
pub async fn documents_survive_and_count_versions(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, writes([put_note("a", Expected::Absent, "one")])).await;
    let first = load_note(&*store, "a").await.unwrap();
    assert_eq!((first.version, &first.data[..]), (1, &b"\"one\""[..]));
    let second = writes([put_note("a", Expected::Version(1), "two ☕")]);
    commit(&*store, second).await;
    let again = harness.store().await;
    let stored = load_note(&*again, "a").await.unwrap();
    assert_eq!((stored.version, &stored.data[..]), (2, "\"two ☕\"".as_bytes()));
    commit(&*store, writes([put_note("b", Expected::Absent, "b")])).await;
    let ids = [text("b"), text("none"), text("a"), text("b")];
    let loaded = store.load(&NOTES, &ids, LOAD_BYTES_MAX).await.unwrap();
    let found: Vec<_> = loaded.iter().map(|d| d.as_ref().map(|d| &d.id)).collect();
    assert_eq!(found, [Some(&ids[0]), None, Some(&ids[2]), Some(&ids[0])]);
    let removal = remove(put_note("a", Expected::Version(2), ""));
    commit(&*store, writes([removal])).await;
    assert_eq!(load_note(&*store, "a").await, None);
    assert_eq!(store.count(&NOTES, &Filter::TRUE).await.unwrap(), 1);
    let other = harness.context("payments").await;
    assert_eq!(other.count(&NOTES, &Filter::TRUE).await.unwrap(), 0);
}

/// Of all that is in a unit, nothing is kept when one version does not hold.
pub async fn a_conflict_keeps_nothing_of_its_unit(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, writes([put_note("a", Expected::Absent, "one")])).await;
    let stale = [
        put_note("a", Expected::Version(2), "x"),
        put_note("none", Expected::Version(1), "x"),
        remove(put_note("a", Expected::Version(7), "")),
        remove(put_note("none", Expected::Version(1), "")),
    ];
    for (number, stale) in (1..).zip(stale) {
        let handled = message(number, Some("k"));
        let mut unit = receiving(&handled, Origin::Delivery, Outcome::Handled);
        unit.writes = vec![put_note("new", Expected::Absent, "new"), stale];
        unit.outbox = vec![message(100 + number, None)];
        let error = fail(&*store, unit).await;
        assert_kind(&error, ErrorKind::Conflict, "notes/");
        assert_eq!(error.retry(), mamey_core::Retry::Immediately);
        assert!(!store.was_received(handled.metadata.identity()).await.unwrap());
    }
    assert_eq!(load_note(&*store, "new").await, None);
    assert_eq!(load_note(&*store, "a").await.unwrap().version, 1);
    assert_eq!(store.outbox_depth().await.unwrap().records, 0);
}

/// A guard turns a document that was changed or removed into a conflict.
pub async fn a_guard_holds_a_decision(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, writes([put_note("rate", Expected::Absent, "7")])).await;
    let guarded = |version, id: &str| {
        writes([put_note(id, Expected::Absent, "x")]).with_guards(vec![Guard::new(
            &NOTES,
            text("rate"),
            version,
        )])
    };
    commit(&*store, guarded(1, "a")).await;
    commit(&*store, writes([put_note("rate", Expected::Version(1), "8")])).await;
    assert_kind(&fail(&*store, guarded(1, "b")).await, ErrorKind::Conflict, "notes/rate");
    commit(&*store, writes([remove(put_note("rate", Expected::Version(2), ""))])).await;
    assert_kind(&fail(&*store, guarded(2, "b")).await, ErrorKind::Conflict, "notes/rate");
    assert_eq!(load_note(&*store, "b").await, None);
}

/// Adding what is there is refused, naming the id, also when the unit removes it again.
pub async fn an_id_is_taken_once(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, writes([put_note("a", Expected::Absent, "one")])).await;
    let again = put_note("a", Expected::Absent, "two");
    for write in [again.clone(), remove(again)] {
        let error = fail(&*store, writes([write])).await;
        assert_kind(&error, ErrorKind::AlreadyExists, "notes/a");
    }
    let gone = remove(put_note("none", Expected::Absent, ""));
    commit(&*store, writes([gone])).await;
    assert_eq!(load_note(&*store, "none").await, None);
    assert_eq!(load_note(&*store, "a").await.unwrap().version, 1);
}

/// No two documents share a value that is not null, and the error names the field.
pub async fn unique_values_are_held_once(harness: StoreHarness) {
    let store = harness.store().await;
    let add = |id, email| put_item(id, Expected::Absent, with_email(email));
    commit(&*store, writes([add(1, "ada@x"), add(2, "bob@x")])).await;
    let blank = |id| put_item(id, Expected::Absent, nothing());
    commit(&*store, writes([blank(3), blank(4)])).await;
    let taken = [
        writes([add(5, "ada@x")]),
        writes([put_item(2, Expected::Version(1), with_email("ada@x"))]),
        writes([add(6, "eve@x"), add(7, "eve@x")]),
        writes([
            put_item(1, Expected::Version(1), with_email("same@x")),
            put_item(2, Expected::Version(1), with_email("same@x")),
        ]),
    ];
    for unit in taken {
        let error = fail(&*store, unit).await;
        assert_kind(&error, ErrorKind::AlreadyExists, "items");
        assert_kind(&error, ErrorKind::AlreadyExists, "email");
    }
    assert_eq!(store.count(&ITEMS, &Filter::TRUE).await.unwrap(), 4);
    // A stale version is a conflict even where the value is taken too: a fresh read may fix it.
    let stale = put_item(2, Expected::Version(9), with_email("ada@x"));
    assert_kind(&fail(&*store, writes([stale])).await, ErrorKind::Conflict, "items/");
    commit(&*store, writes([put_item(1, Expected::Version(1), with_email("new@x"))])).await;
    commit(&*store, writes([add(5, "ada@x")])).await;
}

/// What counts is the state after the unit: values may be swapped, and taken from removed ones.
pub async fn unique_values_move_within_a_unit(harness: StoreHarness) {
    let store = harness.store().await;
    let item = |id, expected, email| put_item(id, expected, with_email(email));
    let (one, two) = (item(1, Expected::Absent, "a@x"), item(2, Expected::Absent, "b@x"));
    commit(&*store, writes([one, two])).await;
    let swap = [item(1, Expected::Version(1), "b@x"), item(2, Expected::Version(1), "a@x")];
    commit(&*store, writes(swap)).await;
    let hand_over = [
        item(3, Expected::Absent, "b@x"),
        item(2, Expected::Version(2), "c@x"),
        remove(item(1, Expected::Version(2), "")),
    ];
    commit(&*store, writes(hand_over)).await;
    let holds_b = Filter::Compare {
        field: "email",
        comparison: mamey_core::criteria::Comparison::Equal,
        value: text("b@x"),
    };
    let find = Find::new(&ITEMS, holds_b, 10);
    let found = store.find(&find).await.unwrap().documents;
    assert_eq!(found.iter().map(|d| &d.id).collect::<Vec<_>>(), [&uuid(3)]);
    assert_eq!(load_item(&*store, 2).await.unwrap().version, 3);
}

/// Units that share a round trip keep their own outcome: of each group that fights over one
/// version, exactly one commits, whole, and the others leave nothing.
pub async fn concurrent_units_each_keep_their_outcome(harness: StoreHarness) {
    const FIGHTS: u128 = 16;
    const FIGHTERS: u128 = 4;
    let store = harness.store().await;
    let added = (0..FIGHTS).map(|id| put_item(id, Expected::Absent, nothing()));
    commit(&*store, writes(added)).await;
    let unit = |fight, fighter| {
        let mark = put_note(&format!("{fight}-{fighter}"), Expected::Absent, "won");
        let mut unit = writes([mark, put_item(fight, Expected::Version(1), nothing())]);
        unit.outbox = vec![message(fight * FIGHTERS + fighter, None)];
        unit
    };
    let pairs = (0..FIGHTERS).flat_map(|fighter| (0..FIGHTS).map(move |fight| (fight, fighter)));
    let pairs: Vec<_> = pairs.collect();
    let commits = pairs.iter().map(|(fight, fighter)| store.commit(unit(*fight, *fighter)));
    let outcomes = join_all(commits).await;
    let mut won = 0;
    for ((fight, fighter), outcome) in pairs.into_iter().zip(outcomes) {
        let stored = load_note(&*store, &format!("{fight}-{fighter}")).await;
        match outcome {
            Ok(CommitOutcome::Committed(_)) => {
                assert!(stored.is_some());
                won += 1;
            }
            other => {
                assert_kind(&other.unwrap_err(), ErrorKind::Conflict, "items/");
                assert_eq!(stored, None);
            }
        }
    }
    assert_eq!(won, FIGHTS);
    for fight in 0..FIGHTS {
        assert_eq!(load_item(&*store, fight).await.unwrap().version, 2);
    }
    assert_eq!(u128::from(store.outbox_depth().await.unwrap().records), FIGHTS);
}

/// A collection that the context did not declare is refused, and the error names the fix.
pub async fn undeclared_collections_are_refused(harness: StoreHarness) {
    let store = harness.store().await;
    let mut stray = put_note("a", Expected::Absent, "x");
    (stray.collection, stray.id) = (&STRANGERS, Value::Int(1));
    let errors = [
        store.load(&STRANGERS, &[Value::Int(1)], LOAD_BYTES_MAX).await.unwrap_err(),
        store.count(&STRANGERS, &Filter::TRUE).await.unwrap_err(),
        fail(&*store, writes([stray])).await,
    ];
    for error in errors {
        assert_kind(&error, ErrorKind::Misconfigured, "strangers");
        assert_kind(&error, ErrorKind::Misconfigured, "`orders`");
        assert_kind(&error, ErrorKind::Misconfigured, ".aggregate::<");
    }
}

/// A context is opened again, and by many at once, as when several instances start together; what
/// is stored stays.
pub async fn a_context_is_opened_by_many_at_once(harness: StoreHarness) {
    let stores = join_all((0..8).map(|_| harness.store())).await;
    let put = |number: usize| put_note(&format!("note-{number}"), Expected::Absent, "kept");
    for (number, store) in stores.iter().enumerate() {
        commit(&**store, writes([put(number)])).await;
    }
    let again = harness.store().await;
    for number in 0..stores.len() {
        assert!(load_note(&*again, &format!("note-{number}")).await.is_some());
    }
}
