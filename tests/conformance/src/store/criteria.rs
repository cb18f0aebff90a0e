//! Criteria: each store's translation against the plain evaluation, and pages by keyset.

use futures_util::future::join;
use mamey_core::ErrorKind;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Comparison, Filter, Find, ID_FIELD, SortKey, Value, ValueType};
use mamey_core::store::{Expected, Store, Write};
use uuid::Uuid;

use super::fixture::{
    ITEMS, Numbers, assert_kind, commit, nothing, put_item, remove, text, uuid, writes,
};
use super::harness::StoreHarness;

/// The place of `count` among the indexed fields.
const COUNT: usize = 2;

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// Values that lie close together or at the ends, so that comparisons meet equals and borders.
fn values_of(of: ValueType) -> Vec<Value> {
    let time = |micros| Value::Time(Timestamp::from_micros(micros));
    let mut values = match of {
        ValueType::Bool => vec![Value::Bool(false), Value::Bool(true)],
        ValueType::Int => [i64::MIN, -1, 0, 1, 2, i64::MAX].map(Value::Int).to_vec(),
        ValueType::Float => {
            [f64::NEG_INFINITY, -1.5, 0.0, 0.1, 1e300, f64::INFINITY].map(Value::Float).to_vec()
        }
        ValueType::Text => ["", "a", "A", "ab", "a\0b", "b", "é", "z%_", "☕", "\u{10ffff}", "7"]
            .map(text)
            .to_vec(),
        ValueType::Uuid => vec![uuid(0), uuid(1), uuid(1 << 127), Value::Uuid(Uuid::max())],
        ValueType::Time => vec![time(i64::MIN), time(-1), time(0), time(1_790_000_000_000_000)],
    };
    values.push(Value::Null);
    values
}

/// An item's id and the values of its indexed fields.
pub(super) type Item = (Value, Vec<Value>);

/// A collection in which every value of every type occurs, with many ties and nulls.
async fn populate(store: &dyn Store, count: u128) -> Vec<Item> {
    let mut numbers = Numbers(42);
    let mut items = Vec::new();
    for id in 1..=count {
        let mut values = nothing();
        for (value, index) in values.iter_mut().zip(ITEMS.indexes).skip(1) {
            let choices = values_of(index.value);
            let at = numbers.below(choices.len() as u64);
            *value = choices[usize::try_from(at).unwrap()].clone();
        }
        items.push((uuid(id), values));
    }
    let put = |(id, (_, values)): (u128, &Item)| put_item(id, Expected::Absent, values.clone());
    commit(store, writes((1..).zip(&items).map(put))).await;
    items
}

pub(super) fn value_of<'v>(item: &'v Item, field: &str) -> &'v Value {
    if field == ID_FIELD {
        return &item.0;
    }
    let at = ITEMS.indexes.iter().position(|index| index.field == field);
    &item.1[at.unwrap()]
}

/// Asserts that the store finds and counts what the filter matches.
pub(super) async fn check(store: &dyn Store, items: &[Item], filter: Filter) {
    let expected: Vec<_> = items
        .iter()
        .filter(|item| filter.matches(&|field| value_of(item, field)))
        .map(|item| item.0.clone())
        .collect();
    let find = Find::new(&ITEMS, filter, 1000);
    let found = store.find(&find).await.unwrap().documents;
    let found: Vec<_> = found.into_iter().map(|document| document.id).collect();
    assert_eq!(found, expected, "{:?}", find.filter);
    let count = store.count(&ITEMS, &find.filter).await.unwrap();
    assert_eq!(count, expected.len() as u64, "{:?}", find.filter);
}

/// Every comparison, on every type and border, alone and combined, finds what
/// [`Filter::matches`] says.
pub async fn comparisons_agree_with_their_definition(harness: StoreHarness) {
    let store = harness.store().await;
    let items = populate(&*store, 60).await;
    let mut simple = Vec::new();
    for index in &ITEMS.indexes[1..] {
        let (field, values) = (index.field, values_of(index.value));
        for value in &values {
            simple.extend(COMPARISONS.map(|comparison| Filter::Compare {
                field,
                comparison,
                value: value.clone(),
            }));
        }
        for take in 0..=values.len() {
            let values = values.iter().rev().take(take).cloned().collect();
            simple.push(Filter::OneOf { field, values });
        }
    }
    for prefix in ["", "a", "a\0", "é", "z%", "\u{10ffff}"] {
        let prefix = prefix.to_owned();
        simple.push(Filter::StartsWith { field: "label", prefix });
    }
    for comparison in COMPARISONS {
        let (field, value) = (ID_FIELD, uuid(30));
        simple.push(Filter::Compare { field, comparison, value });
    }
    for filter in &simple {
        check(&*store, &items, filter.clone()).await;
    }
    let mut numbers = Numbers(7);
    for _ in 0..150 {
        check(&*store, &items, combined(&mut numbers, &simple, 3)).await;
    }
}

fn combined(numbers: &mut Numbers, simple: &[Filter], depth: u32) -> Filter {
    let kind = if depth == 0 { 2 } else { numbers.below(4) };
    if kind >= 2 {
        let at = numbers.below(simple.len() as u64);
        return simple[usize::try_from(at).unwrap()].clone();
    }
    let parts = numbers.below(4);
    let filters = (0..parts).map(|_| combined(numbers, simple, depth - 1)).collect();
    if kind == 0 { Filter::All(filters) } else { Filter::Any(filters) }
}

/// Walking by keyset meets each document once, in order, through ties and nulls, both ways.
pub async fn pages_neither_overlap_nor_skip(harness: StoreHarness) {
    let store = harness.store().await;
    let items = populate(&*store, 60).await;
    for field in ITEMS.indexes[1..].iter().map(|index| index.field) {
        for descending in [false, true] {
            let order = [field, ID_FIELD].map(|field| SortKey::new(field, descending));
            let mut expected: Vec<_> = items.iter().collect();
            expected.sort_by(|one, two| {
                let by = (value_of(one, field), &one.0).cmp(&(value_of(two, field), &two.0));
                if descending { by.reverse() } else { by }
            });
            let walked = walk(&*store, &items, &order).await;
            let expected: Vec<_> = expected.into_iter().map(|item| &item.0).collect();
            assert_eq!(walked.iter().collect::<Vec<_>>(), expected, "{order:?}");
        }
    }
}

/// The items of the walk below: those under this number stay.
const PASSING: u128 = 1000;

/// Staying items have even counts; between two of them one that comes and goes has an odd one.
fn count_of(id: u128) -> i64 {
    let at = i64::try_from(id % 100).unwrap();
    if id < PASSING { at * 2 } else { at * 2 + 1 }
}

fn put_counted(id: u128) -> Write {
    let mut values = nothing();
    values[COUNT] = Value::Int(count_of(id));
    put_item(id, Expected::Absent, values)
}

/// Whoever walks by pages while others insert and remove meets everything that was there all the
/// time, once and in order.
pub async fn pages_hold_while_others_insert_and_remove(harness: StoreHarness) {
    const STAYING: u128 = 40;
    let store = harness.store().await;
    commit(&*store, writes((1..=STAYING).map(put_counted))).await;
    let changing = async {
        for round in 1..=20_u128 {
            let passing: Vec<_> = (1..STAYING).map(|at| PASSING + round * 100 + at).collect();
            commit(&*store, writes(passing.iter().copied().map(put_counted))).await;
            let gone = passing.into_iter().map(|id| {
                let expected = Expected::Version(1);
                let mut write = put_counted(id);
                write.expected = expected;
                remove(write)
            });
            commit(&*store, writes(gone)).await;
        }
    };
    let (met, ()) = join(walk_by_count(&*store), changing).await;
    let met: Vec<_> = met.into_iter().filter(|id| *id < PASSING).collect();
    assert_eq!(met, (1..=STAYING).collect::<Vec<_>>());
}

async fn walk_by_count(store: &dyn Store) -> Vec<u128> {
    let order = [ITEMS.indexes[COUNT].field, ID_FIELD];
    let order = order.map(|field| SortKey::new(field, false));
    let mut met: Vec<u128> = Vec::new();
    loop {
        let filter = met
            .last()
            .map_or(Filter::TRUE, |last| after(&order, &Value::Int(count_of(*last)), &uuid(*last)));
        let find = Find::new(&ITEMS, filter, 3).with_order(order.to_vec());
        let page = store.find(&find).await.unwrap().documents;
        if page.is_empty() {
            return met;
        }
        met.extend(page.iter().filter_map(|document| match document.id {
            Value::Uuid(id) => Some(id.as_u128()),
            _ => None,
        }));
    }
}

/// The ids by pages of seven.
pub(super) async fn walk(store: &dyn Store, items: &[Item], order: &[SortKey; 2]) -> Vec<Value> {
    let mut walked: Vec<Value> = Vec::new();
    loop {
        let last = walked.last();
        let last = last.and_then(|id| items.iter().find(|item| item.0 == *id));
        let filter =
            last.map_or(Filter::TRUE, |last| after(order, value_of(last, order[0].field), &last.0));
        let find = Find::new(&ITEMS, filter, 7).with_order(order.to_vec());
        let page = store.find(&find).await.unwrap().documents;
        if page.is_empty() {
            return walked;
        }
        assert!(page.len() <= 7);
        walked.extend(page.into_iter().map(|document| document.id));
    }
}

/// "Comes after these two values", written without the code that repositories use for it.
pub(super) fn after(order: &[SortKey; 2], value: &Value, id: &Value) -> Filter {
    let compare = |field, comparison, value: &Value| Filter::Compare {
        field,
        comparison,
        value: value.clone(),
    };
    let (field, descending) = (order[0].field, order[0].descending);
    let onward = if descending { Comparison::Less } else { Comparison::Greater };
    let tied =
        Filter::All(vec![compare(field, Comparison::Equal, value), compare(ID_FIELD, onward, id)]);
    let mut later = vec![tied, compare(field, onward, value)];
    if descending && !value.is_null() {
        later.push(compare(field, Comparison::Equal, &Value::Null));
    }
    if !descending && value.is_null() {
        later.push(compare(field, Comparison::NotEqual, &Value::Null));
    }
    Filter::Any(later)
}

/// A filter or an order on anything but an indexed field is refused by name, and so are values of
/// another type.
pub async fn fields_that_are_not_indexed_are_refused(harness: StoreHarness) {
    let store = harness.store().await;
    let compare = |field, value| Filter::Compare { field, comparison: Comparison::Equal, value };
    let filters = [
        (compare("secret", Value::Int(1)), "secret"),
        (compare("count", text("1")), "count"),
        (compare("ratio", Value::Float(f64::NAN)), "ratio"),
        (Filter::Any(vec![compare("data", Value::Null)]), "data"),
    ];
    for (filter, naming) in filters {
        let error = store.count(&ITEMS, &filter).await.unwrap_err();
        assert_kind(&error, ErrorKind::Invalid, naming);
    }
    let find =
        Find::new(&ITEMS, Filter::TRUE, 1).with_order(vec![SortKey::new("version; --", false)]);
    let error = store.find(&find).await.unwrap_err();
    assert_kind(&error, ErrorKind::Invalid, "version");
}
