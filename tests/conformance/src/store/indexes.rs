//! Indexes that are added to a collection with documents, while earlier builds go on writing.

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{
    Collection, Comparison, Filter, Find, Index, SortKey, Value, ValueType, indexed_values,
};
use mamey_core::store::{Change, Expected, LOAD_BYTES_MAX, Store, Write};
use uuid::Uuid;

use super::fixture::{Numbers, assert_kind, commit, fail, remove, text, writes};
use super::harness::StoreHarness;
use super::random_values::random_value;

/// What the earlier build knows.
static EARLIER: Collection = Collection::new("samples", ValueType::Int)
    .with_indexes(&[Index::new("label", ValueType::Text)]);

/// What the later build knows: each type, under names of each kind that serde writes.
static LATER: Collection = Collection::new("samples", ValueType::Int).with_indexes(&[
    Index::new("label", ValueType::Text),
    Index::new("isOpen", ValueType::Bool),
    Index::new("ITEM_COUNT", ValueType::Int),
    Index::new("ratio", ValueType::Float),
    Index::new("owner-id", ValueType::Uuid),
    Index::new("createdAt", ValueType::Time),
    Index::new("createdat", ValueType::Text),
]);

/// What a build after that knows.
static UNIQUE: Collection = Collection::new("samples", ValueType::Int).with_indexes(&[
    Index::new("label", ValueType::Text),
    Index::new("eMail", ValueType::Text).with_unique(true),
]);

const DOCUMENTS: i64 = 120;

/// Values as serde writes them, and what the index holds of each.
fn samples(of: ValueType) -> Vec<(String, Value)> {
    let written = |json: &str, value| (json.to_owned(), value);
    let plain = |json: &str, value: &str| (json.to_owned(), text(value));
    let time = |micros| {
        let time = Timestamp::from_micros(micros);
        (format!("\"{time}\""), Value::Time(time))
    };
    let mut samples = match of {
        ValueType::Bool => {
            vec![written("true", Value::Bool(true)), written("false", Value::Bool(false))]
        }
        ValueType::Int => [i64::MIN, -1, 0, 7, 1 << 53, (1 << 53) + 1, i64::MAX]
            .map(|number| (number.to_string(), Value::Int(number)))
            .to_vec(),
        ValueType::Float => vec![
            written("-0.0", Value::Float(0.0)),
            written("0", Value::Float(0.0)),
            written("0.1", Value::Float(0.1)),
            written("0.30000000000000004", Value::Float(0.1 + 0.2)),
            written("1e16", Value::Float(1e16)),
            written("5e-324", Value::Float(5e-324)),
            written("-2.2250738585072011e-308", Value::Float(-2.225_073_858_507_201e-308)),
            written("1.7976931348623157e308", Value::Float(f64::MAX)),
            written("-7", Value::Float(-7.0)),
        ],
        ValueType::Text => vec![
            plain(r#""""#, ""),
            plain(r#"" ""#, " "),
            plain(r#""out-of-stock""#, "out-of-stock"),
            plain(r#""OutOfStock""#, "OutOfStock"),
            plain(r#""a\u0000b\u0001\u0001\u0002""#, "a\0b\u{1}\u{1}\u{2}"),
            plain(r#""\\u0000 \\\u0000 \\\\u0001""#, "\\u0000 \\\0 \\\\u0001"),
            plain(r#""\"quoted\"\t\r\n\u001f\u007f""#, "\"quoted\"\t\r\n\u{1f}\u{7f}"),
            plain(r#""é""#, "é"),
            plain("\"e\u{301}\"", "e\u{301}"),
            plain(r#""\ud83d\ude00😀""#, "😀😀"),
            plain("\"\u{10ffff}\u{ffff}\"", "\u{10ffff}\u{ffff}"),
            plain(r#""null""#, "null"),
            plain(&format!("\"{}\"", "é".repeat(1024)), &"é".repeat(1024)),
        ],
        ValueType::Uuid => [Uuid::nil(), Uuid::from_u128(0xabc << 96), Uuid::max()]
            .into_iter()
            .flat_map(|id| {
                [format!("\"{id}\""), format!("\"{}\"", id.simple().to_string().to_uppercase())]
                    .map(|json| (json, Value::Uuid(id)))
            })
            .collect(),
        ValueType::Time => {
            let (first, last) = (-62_167_219_200_000_000, 253_402_300_799_999_999);
            let edges =
                [i64::MIN, first - 1, first, first + 86_400_000_000, last, last + 1, i64::MAX];
            let mut times: Vec<_> = edges.map(time).to_vec();
            times.extend([-1, 0, 1_790_000_000_123_456].map(time));
            let at = |micros| Value::Time(Timestamp::from_micros(micros));
            times.push(written(r#""1969-12-31T23:59:59.9999999Z""#, at(-1)));
            times.push(written(r#""1970-01-01t05:29:59.5+05:30""#, at(-500_000)));
            times.push(written(r#""2016-12-31T23:59:60.5Z""#, at(1_483_228_799_999_999)));
            times.push(written(r#""0000-02-29T00:00:00-23:59""#, at(-62_162_035_260_000_000)));
            times
        }
    };
    samples.push(written("null", Value::Null));
    samples
}

/// A document, and the values of the later build's fields.
struct Sample {
    id: i64,
    json: String,
    values: Vec<Value>,
}

impl Sample {
    /// One that a build would write: of each field a value of the list, a random one, or none.
    fn new(id: i64, numbers: &mut Numbers) -> Self {
        let mut fields = vec![format!("\"id\":{id}"), r#""lines":[{"label":7}]"#.to_owned()];
        let mut values = Vec::new();
        for index in LATER.indexes {
            let mut choices = samples(index.value);
            let at = usize::try_from(numbers.below(choices.len() as u64 * 2 + 1)).unwrap();
            if at == choices.len() {
                values.push(Value::Null);
                continue;
            }
            let (json, value) = if at < choices.len() {
                choices.swap_remove(at)
            } else {
                random_value(index.value, numbers)
            };
            fields.push(format!("\"{}\":{json}", index.field));
            values.push(value);
        }
        fields.push(r#""rest":{"a\u0000":"\u0000","isOpen":1}"#.to_owned());
        Self { id, json: format!("{{{}}}", fields.join(", ")), values }
    }

    /// As a build with this declaration writes it.
    fn put(&self, of: &'static Collection, expected: Expected) -> Write {
        let data = Bytes::from(self.json.clone());
        let index = indexed_values(of, &data).unwrap();
        let known = self.values.get(..index.len()).unwrap();
        assert_eq!(index, known, "what the Rust side reads of {}", self.json);
        Write::new(of, Value::Int(self.id), expected, Change::Put { data, index })
    }
}

/// Adds documents under the ids that follow, or changes those that are there.
async fn put_all(
    store: &dyn Store,
    of: &'static Collection,
    kept: &mut Vec<Sample>,
    ids: std::ops::Range<i64>,
    numbers: &mut Numbers,
) {
    for id in ids {
        let sample = Sample::new(id, numbers);
        let before =
            store.load(of, &[Value::Int(id)], LOAD_BYTES_MAX).await.unwrap().pop().unwrap();
        let expected = before.map_or(Expected::Absent, |found| Expected::Version(found.version));
        commit(store, writes([sample.put(of, expected)])).await;
        kept.retain(|other| other.id != id);
        kept.push(sample);
    }
    kept.sort_by_key(|sample| sample.id);
}

/// What criteria find by each value of each field is what a scan finds, and so is the order.
async fn assert_found_as_by_scan(store: &dyn Store, kept: &[Sample]) {
    for (place, index) in LATER.indexes.iter().enumerate() {
        let field = index.field;
        let value = |sample: &Sample| sample.values.get(place).unwrap().clone();
        let listed = samples(index.value).into_iter().map(|(_, value)| value);
        for sought in listed.chain(kept.iter().step_by(7).map(value)) {
            for comparison in [Comparison::Equal, Comparison::Less, Comparison::GreaterOrEqual] {
                let filter = Filter::Compare { field, comparison, value: sought.clone() };
                let matching =
                    kept.iter().filter(|it| filter.matches(&|_| it.values.get(place).unwrap()));
                let expected: Vec<_> = matching.map(|sample| Value::Int(sample.id)).collect();
                let found = find(store, filter, Vec::new()).await;
                assert_eq!(found, expected, "`{field}` {comparison:?} {sought:?}");
            }
        }
        let mut sorted: Vec<_> = kept.iter().map(|it| (value(it), Value::Int(it.id))).collect();
        sorted.sort();
        let expected: Vec<_> = sorted.into_iter().map(|(_, id)| id).collect();
        let found = find(store, Filter::TRUE, vec![SortKey::new(field, false)]).await;
        assert_eq!(found, expected, "the order of `{field}`");
    }
}

async fn find(store: &dyn Store, filter: Filter, order: Vec<SortKey>) -> Vec<Value> {
    let find = Find::new(&LATER, filter, 10_000).with_order(order);
    store.find(&find).await.unwrap().documents.into_iter().map(|document| document.id).collect()
}

/// An index that is added to documents finds, of every type, what a scan finds.
pub async fn an_index_added_later_finds_what_was_written_before(harness: StoreHarness) {
    let (mut kept, mut numbers) = (Vec::new(), Numbers(11));
    let earlier = harness.declaring(&EARLIER).await;
    put_all(&*earlier, &EARLIER, &mut kept, 0..DOCUMENTS, &mut numbers).await;
    let later = harness.declaring(&LATER).await;
    assert_found_as_by_scan(&*later, &kept).await;
    put_all(&*later, &LATER, &mut kept, 60..DOCUMENTS + 20, &mut numbers).await;
    assert_found_as_by_scan(&*later, &kept).await;
}

/// While an earlier build goes on writing, an index that it does not know finds what a scan finds.
pub async fn an_index_finds_what_an_earlier_build_writes(harness: StoreHarness) {
    let (mut kept, mut numbers) = (Vec::new(), Numbers(12));
    let earlier = harness.declaring(&EARLIER).await;
    put_all(&*earlier, &EARLIER, &mut kept, 0..40, &mut numbers).await;
    let later = harness.declaring(&LATER).await;
    put_all(&*earlier, &EARLIER, &mut kept, 20..DOCUMENTS, &mut numbers).await;
    assert_found_as_by_scan(&*later, &kept).await;
    // The earlier build is started again in the middle of the deploy.
    let again = harness.declaring(&EARLIER).await;
    put_all(&*later, &LATER, &mut kept, 30..60, &mut numbers).await;
    put_all(&*again, &EARLIER, &mut kept, 50..80, &mut numbers).await;
    let gone = kept.remove(0);
    let version = later
        .load(&LATER, &[Value::Int(gone.id)], LOAD_BYTES_MAX)
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap()
        .version;
    commit(&*again, writes([remove(gone.put(&EARLIER, Expected::Version(version)))])).await;
    assert_found_as_by_scan(&*later, &kept).await;
}

/// A unique field that a later build has added also refuses what an earlier build writes.
pub async fn a_unique_field_added_later_holds_for_an_earlier_build(harness: StoreHarness) {
    let put = |of: &'static Collection, id, email: &str| {
        let data = Bytes::from(format!(r#"{{"label":"a","eMail":"{email}"}}"#));
        let index = indexed_values(of, &data).unwrap();
        let change = Change::Put { data, index };
        writes([Write::new(of, Value::Int(id), Expected::Absent, change)])
    };
    let earlier = harness.declaring(&EARLIER).await;
    commit(&*earlier, put(&EARLIER, 1, "ada@x")).await;
    let later = harness.declaring(&UNIQUE).await;
    for error in [
        fail(&*later, put(&UNIQUE, 2, "ada@x")).await,
        fail(&*earlier, put(&EARLIER, 3, "ada@x")).await,
    ] {
        assert_kind(&error, mamey_core::ErrorKind::AlreadyExists, "`eMail`");
    }
    commit(&*earlier, put(&EARLIER, 4, "Ada@x")).await;
    let error = fail(&*later, put(&UNIQUE, 5, "Ada@x")).await;
    assert_kind(&error, mamey_core::ErrorKind::AlreadyExists, "`eMail`");
}
