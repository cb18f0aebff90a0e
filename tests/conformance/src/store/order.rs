//! One order for each type: no two stores sort, compare or page one list differently.

use mamey_core::clock::Timestamp;
use mamey_core::criteria::{
    Comparison, Filter, Find, ID_FIELD, INDEXED_TEXT_BYTES_MAX, SortKey, Value, ValueType,
    indexed_bytes,
};
use mamey_core::store::{Expected, LOAD_BYTES_MAX, Store};

use super::criteria::{Item, check, value_of, walk};
use super::fixture::{
    ITEMS, NOTES, Numbers, commit, nothing, put_item, put_note, text, uuid, writes,
};
use super::harness::StoreHarness;

/// The values of a type in their order: null first, and no two are equal.
fn in_order(of: ValueType) -> Vec<Value> {
    let mut values = vec![Value::Null];
    values.extend(match of {
        ValueType::Bool => vec![Value::Bool(false), Value::Bool(true)],
        ValueType::Int => {
            const EXACT: i64 = 1 << 53;
            let max = i64::MAX;
            [-max - 1, -max, -EXACT - 1, -EXACT, -1, 0, 1, EXACT, EXACT + 1, max - 1, max]
                .map(Value::Int)
                .to_vec()
        }
        ValueType::Float => floats().map(Value::Float).to_vec(),
        ValueType::Text => texts().iter().map(|value| text(value)).collect(),
        ValueType::Uuid => {
            let max = u128::MAX;
            [0, 1, 0xff, 1 << 64, (1 << 127) - 1, 1 << 127, max - 1, max].map(uuid).to_vec()
        }
        ValueType::Time => times(),
    });
    values
}

fn floats() -> [f64; 17] {
    let tiny = f64::MIN_POSITIVE;
    let next = 0.1_f64.next_up();
    let (min, max) = (f64::MIN, f64::MAX);
    [
        min,
        -1e16,
        -1.5,
        -1.0,
        -tiny,
        -5e-324,
        0.0,
        5e-324,
        tiny,
        0.1,
        next,
        1.0,
        1.5,
        1e16,
        9_007_199_254_740_993.0 * 4.0,
        1e300,
        max,
    ]
}

/// The ends of what is written as a date, and of what is not, and neighbours.
fn times() -> Vec<Value> {
    let at = |text| Timestamp::parse_rfc3339(text).unwrap().as_micros();
    let (first, last) = (at("0000-01-01T00:00:00Z"), at("9999-12-31T23:59:59.999999Z"));
    let now = at("2026-09-21T14:13:20.123456789Z");
    let days = [i64::MIN, i64::MIN + 1, first - 1, first, -1, 0, 1, now, now + 1, last, last + 1];
    let micros = days.into_iter().chain([i64::MAX - 1, i64::MAX]);
    micros.map(|micros| Value::Time(Timestamp::from_micros(micros))).collect()
}

/// Texts by their bytes: neither language, case nor composition counts.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "\0",
        "\0\0",
        "\0\u{1}",
        "\0a",
        "\u{1}",
        "\u{1}\0",
        "\u{1}\u{2}",
        "\u{2}",
        "\t",
        "\n",
        " ",
        " a",
        "%",
        "'",
        "-1",
        "0",
        "10",
        "2",
        "A",
        "AB",
        "B",
        "Z",
        "\\",
        "_",
        "a",
        "a\0",
        "a\0b",
        "a ",
        "a b",
        "a-b",
        "aB",
        "aa",
        "ab",
        "b",
        "co-op",
        "coop",
        "e\u{301}",
        "z",
        "\u{7f}",
        "\u{c4}",
        "\u{df}",
        "\u{e9}",
        "\u{131}",
        "I",
        "i",
        "\u{130}",
        "\u{1e9e}",
        "ss",
        "\u{fb01}",
        "fi",
        "\u{2615}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{feff}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10000}",
        "\u{1f600}",
        "\u{10ffff}",
    ]
    .map(str::to_owned)
    .to_vec();
    let max = INDEXED_TEXT_BYTES_MAX;
    texts.push("x".repeat(max));
    // They count twice, because a store that cannot hold NUL writes both as two characters.
    texts.extend(["\u{1}", "\0"].map(|one| one.repeat(max / 2)));
    let mixed = random_text(max, '\0'..='~');
    let longest = mixed
        .char_indices()
        .map(|(end, _)| end)
        .take_while(|end| indexed_bytes(&mixed[..*end]) <= max);
    texts.push(mixed[..longest.max().unwrap()].to_owned());
    texts.push(random_text(max / 2, '\0'..='\u{1}'));
    texts.push("x".repeat(max - 1) + "y");
    texts.push(random_text(max / 4, '\u{10000}'..='\u{10ffff}'));
    texts.push(random_text(max, '!'..='~'));
    texts.sort_by(|one, two| one.as_bytes().cmp(two.as_bytes()));
    texts
}

/// Text that cannot be compressed, so that an index must hold all of it.
fn random_text(characters: usize, among: std::ops::RangeInclusive<char>) -> String {
    let mut numbers = Numbers(99);
    let (first, last) = (u32::from(*among.start()), u32::from(*among.end()));
    let span = u64::from(last - first) + 1;
    let pick = |_| {
        let offset = u32::try_from(numbers.below(span)).unwrap();
        char::from_u32(first + offset).unwrap()
    };
    (0..characters).map(pick).collect()
}

/// Items in which each value of each type occurs, most of them more than once, and not in the
/// order of the ids.
async fn populate(store: &dyn Store) -> Vec<Item> {
    let lists: Vec<_> = ITEMS.indexes.iter().map(|index| in_order(index.value)).collect();
    let count = lists.iter().map(Vec::len).max().unwrap() * 2;
    let item = |at: usize| {
        let mut values = nothing();
        for ((value, list), index) in values.iter_mut().zip(&lists).zip(ITEMS.indexes) {
            // A prime is larger than every list, so its multiples meet all places.
            let place = at * 101 % list.len();
            if !index.unique || at < list.len() {
                *value = list[place].clone();
            }
        }
        (uuid(at as u128 + 1), values)
    };
    let items: Vec<_> = (0..count).map(item).collect();
    for items in (1..).zip(&items).collect::<Vec<_>>().chunks(20) {
        let put =
            |(id, (_, values)): &(u128, &Item)| put_item(*id, Expected::Absent, values.clone());
        commit(store, writes(items.iter().map(put))).await;
    }
    items
}

/// Every store sorts each type alike, both ways, and pages end and go on at each value.
pub async fn values_sort_alike(harness: StoreHarness) {
    let store = harness.store().await;
    let items = populate(&*store).await;
    for index in ITEMS.indexes {
        let list = in_order(index.value);
        let rank = |item: &Item| {
            let value = value_of(item, index.field);
            list.iter().position(|other| other == value).unwrap()
        };
        for descending in [false, true] {
            let mut expected: Vec<_> = items.iter().collect();
            expected.sort_by(|one, two| {
                let by = (rank(one), &one.0).cmp(&(rank(two), &two.0));
                if descending { by.reverse() } else { by }
            });
            let expected: Vec<_> = expected.into_iter().map(|item| item.0.clone()).collect();
            let order = [index.field, ID_FIELD].map(|field| SortKey::new(field, descending));
            let find = Find::new(&ITEMS, Filter::TRUE, 1000).with_order(order.to_vec());
            let found = store.find(&find).await.unwrap().documents;
            let found: Vec<_> = found.into_iter().map(|document| document.id).collect();
            assert_eq!(found, expected, "{order:?}");
            assert_eq!(walk(&*store, &items, &order).await, expected, "{order:?}");
        }
    }
}

/// Every store compares each value of each type alike.
pub async fn values_compare_alike(harness: StoreHarness) {
    let store = harness.store().await;
    let items = populate(&*store).await;
    for index in ITEMS.indexes {
        let field = index.field;
        for value in in_order(index.value) {
            let compare = |comparison| Filter::Compare { field, comparison, value: value.clone() };
            for comparison in [Comparison::Equal, Comparison::Less, Comparison::GreaterOrEqual] {
                check(&*store, &items, compare(comparison)).await;
            }
            let values = vec![value.clone(), Value::Null];
            check(&*store, &items, Filter::OneOf { field, values }).await;
        }
    }
}

/// The two zeros are one value.
pub async fn zeros_are_equal(harness: StoreHarness) {
    let store = harness.store().await;
    let place = ITEMS.indexes.iter().position(|index| index.field == "ratio").unwrap();
    let item = |id: u128, ratio: f64| {
        let mut values = nothing();
        values[place] = Value::Float(ratio);
        (uuid(id), values)
    };
    let items = [item(1, 0.0), item(2, -0.0), item(3, 0.0), item(4, -0.0), item(5, 5e-324)];
    let put = |(id, (_, values)): (u128, &Item)| put_item(id, Expected::Absent, values.clone());
    commit(&*store, writes((1..).zip(&items).map(put))).await;
    for zero in [0.0, -0.0].map(Value::Float) {
        for comparison in [Comparison::Equal, Comparison::Less, Comparison::Greater] {
            let (field, value) = ("ratio", zero.clone());
            check(&*store, &items, Filter::Compare { field, comparison, value }).await;
        }
        let (field, values) = ("ratio", vec![zero]);
        check(&*store, &items, Filter::OneOf { field, values }).await;
    }
    let order = ["ratio", ID_FIELD].map(|field| SortKey::new(field, false));
    let expected: Vec<_> = items.iter().map(|item| item.0.clone()).collect();
    assert_eq!(walk(&*store, &items, &order).await, expected);
}

/// Texts are ids too: each is found, and they sort as indexed texts do.
pub async fn texts_are_ids(harness: StoreHarness) {
    let store = harness.store().await;
    let texts = texts();
    let put = |id: &String| put_note(id, Expected::Absent, "x");
    commit(&*store, writes(texts.iter().rev().map(put))).await;
    let ids: Vec<_> = texts.iter().map(|id| text(id)).collect();
    let loaded = store.load(&NOTES, &ids, LOAD_BYTES_MAX).await.unwrap();
    let loaded: Vec<_> = loaded.into_iter().map(|document| document.unwrap().id).collect();
    assert_eq!(loaded, ids);
    for id in &ids {
        let alone = store
            .load(&NOTES, std::slice::from_ref(id), LOAD_BYTES_MAX)
            .await
            .unwrap()
            .pop()
            .unwrap();
        assert_eq!(&alone.unwrap().id, id);
    }
    for descending in [false, true] {
        let mut expected = ids.clone();
        if descending {
            expected.reverse();
        }
        let onward = if descending { Comparison::Less } else { Comparison::Greater };
        let mut walked: Vec<Value> = Vec::new();
        while walked.len() < expected.len() {
            let after = walked.last().map_or(Filter::TRUE, |last| Filter::Compare {
                field: ID_FIELD,
                comparison: onward,
                value: last.clone(),
            });
            let order = vec![SortKey::new(ID_FIELD, descending)];
            let find = Find::new(&NOTES, after, 5).with_order(order);
            let page = store.find(&find).await.unwrap().documents;
            assert!(!page.is_empty(), "after {:?}", walked.last());
            walked.extend(page.into_iter().map(|document| document.id));
        }
        assert_eq!(walked, expected);
    }
}
