//! What a read holds in memory: pages and loads that end at a number of bytes.

use bytes::Bytes;
use mamey_core::criteria::{Comparison, Cursor, Filter, Find, ID_FIELD, SortKey, Value};
use mamey_core::store::{Change, Document, Expected, Store, Write};
use mamey_core::{ErrorKind, Retry};

use super::criteria::{Item, after, value_of};
use super::fixture::{
    ITEMS, NOTES, assert_kind, commit, nothing, put_item, put_note, text, uuid, writes,
};
use super::harness::StoreHarness;

/// The place of `count` among the indexed fields.
const COUNT: usize = 2;

/// Lengths of documents: short ones, and long ones that a store may read in another way.
const LENGTHS: [usize; 12] =
    [30, 70_000, 200, 200, 65_536, 65_537, 40, 300_000, 90_000, 50, 50, 100_000];

/// Some of the counts are equal, and some are missing.
fn count_of(place: usize) -> Value {
    match place % 4 {
        0 => Value::Null,
        _ => Value::Int(i64::try_from(place % 3).unwrap()),
    }
}

fn data(bytes: usize) -> Bytes {
    Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - 11)))
}

/// The id of an item and the values of its indexed fields.
fn item(place: usize) -> Item {
    let mut values = nothing();
    values[COUNT] = count_of(place);
    (uuid(place as u128), values)
}

/// Writes an item as a document that does not hold its indexed values, like one that is damaged.
fn put(place: usize) -> Write {
    let index = item(place).1;
    let mut write = put_item(place as u128, Expected::Absent, index.clone());
    write.change = Change::Put { data: data(LENGTHS[place]), index };
    write
}

/// A walk over pages.
struct Walk {
    order: [SortKey; 2],
    filter: Filter,
    bytes_max: usize,
}

impl Walk {
    /// The items that the walk must meet, in its order, with the lengths of their documents.
    fn expected(&self) -> Vec<(Item, usize)> {
        let all = LENGTHS.into_iter().enumerate().map(|(place, bytes)| (item(place), bytes));
        let matches =
            |(item, _): &(Item, usize)| self.filter.matches(&|field| value_of(item, field));
        let mut items: Vec<_> = all.filter(matches).collect();
        items.sort_by(|(one, _), (two, _)| {
            let by = (&one.1, &one.0).cmp(&(&two.1, &two.0));
            if self.order[0].descending { by.reverse() } else { by }
        });
        items
    }

    /// Walks by pages, and checks what each holds against the list of all.
    async fn check(&self, store: &dyn Store) {
        let expected = self.expected();
        let mut met = 0;
        while met < expected.len() {
            let before = met.checked_sub(1).map(|last| &expected[last].0);
            let after = before.map_or(Filter::TRUE, |item| {
                after(&self.order, value_of(item, self.order[0].field), &item.0)
            });
            let find = Find::new(&ITEMS, Filter::All(vec![self.filter.clone(), after]), 5)
                .with_order(self.order.to_vec())
                .with_bytes_max(self.bytes_max);
            let found = store.find(&find).await.unwrap();
            let page = page_of(&expected[met..], self.bytes_max);
            check_documents(&found.documents, page);
            met += page.len();
            let last = &page[page.len() - 1].0;
            let cursor = find.cursor(|_, field| Ok::<_, ()>(value_of(last, field).clone()));
            let more: Option<Cursor> = (met < expected.len()).then_some(cursor.unwrap());
            assert_eq!(found.next, more, "after {last:?}, {} bytes", self.bytes_max);
        }
    }
}

/// As many of these as are within the limits, by the plain rule.
fn page_of(items: &[(Item, usize)], bytes_max: usize) -> &[(Item, usize)] {
    let mut sum = 0;
    let fits = |(place, (_, bytes)): &(usize, &(Item, usize))| {
        sum += bytes;
        *place == 0 || *place < 5 && sum <= bytes_max
    };
    let count = items.iter().enumerate().take_while(fits).count();
    &items[..count]
}

fn check_documents(found: &[Document], expected: &[(Item, usize)]) {
    let ids: Vec<_> = found.iter().map(|document| &document.id).collect();
    assert_eq!(ids, expected.iter().map(|(item, _)| &item.0).collect::<Vec<_>>());
    for (document, (item, bytes)) in found.iter().zip(expected) {
        assert!(document.data == data(*bytes), "the document {} is another one", item.0);
    }
}

/// A page ends at its number of documents or bytes, whichever is reached first, and holds at least
/// one; the cursor continues behind it, in each order and under a filter.
pub async fn pages_keep_to_their_bytes(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, writes((0..LENGTHS.len()).map(put))).await;
    let field = ITEMS.indexes[COUNT].field;
    let count = |comparison| Filter::Compare { field, comparison, value: Value::Int(1) };
    let filters = [Filter::TRUE, count(Comparison::NotEqual), count(Comparison::GreaterOrEqual)];
    for bytes_max in [0, 30, 450, 65_000, 135_000, 200_000, 400_000, usize::MAX] {
        for filter in &filters {
            for descending in [false, true] {
                let order = [field, ID_FIELD].map(|field| SortKey::new(field, descending));
                Walk { order, filter: filter.clone(), bytes_max }.check(&*store).await;
            }
        }
    }
}

/// A load of several ids is refused when their documents have more bytes than its limit, and comes
/// complete when they do not. An id that is asked for twice counts twice.
pub async fn loads_keep_to_their_bytes(harness: StoreHarness) {
    let store = harness.store().await;
    let notes = [("a", 100), ("b", 90_000), ("c", 70_000), ("d", 100)];
    let note = |(id, bytes): (&str, usize)| {
        let mut write = put_note(id, Expected::Absent, "");
        write.change = Change::Put { data: data(bytes), index: Vec::new() };
        write
    };
    commit(&*store, writes(notes.map(note))).await;
    let ids = ["d", "b", "none", "a", "c"].map(text);
    let all = store.load(&NOTES, &ids, 160_200).await.unwrap();
    let lengths: Vec<_> = all.iter().map(|it| it.as_ref().map(|it| it.data.len())).collect();
    assert_eq!(lengths, [Some(100), Some(90_000), None, Some(100), Some(70_000)]);
    for (ids, bytes_max) in [
        (&ids[..], 160_199),
        (&ids[..], 0),
        (&["d", "a"].map(text), 199),
        (&["a", "a", "a"].map(text), 299),
        (&["b", "b"].map(text), 179_999),
    ] {
        let error = store.load(&NOTES, ids, bytes_max).await.unwrap_err();
        assert_kind(&error, ErrorKind::LimitExceeded, "notes");
        assert_kind(&error, ErrorKind::LimitExceeded, &bytes_max.to_string());
        assert_eq!(error.retry(), Retry::Never);
    }
    assert_eq!(store.load(&NOTES, &["a", "a"].map(text), 200).await.unwrap().len(), 2);
    let alone = store.load(&NOTES, &[text("b")], 0).await.unwrap().pop().unwrap();
    assert_eq!(alone.unwrap().data.len(), 90_000);
}
