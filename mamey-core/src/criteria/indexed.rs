//! The values of indexed fields, read from the document: the one source of every index.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::collection::Collection;
use super::value::{INDEXED_TEXT_BYTES_MAX, Value, ValueType, is_indexable, one_zero};
use crate::clock::Timestamp;
use crate::{Error, Result, Retry};

/// The most bytes of a value that an error repeats.
const SHOWN_BYTES_MAX: usize = 100;

/// The values of a collection's indexed fields, in their order, as a document holds them.
///
/// A field that is missing or null has no value, and text that is too long to be indexed is not of
/// its type. Whoever fills an index, at a write or long after
/// it, reads the values here, so that each build and each store finds the same documents.
///
/// ```
/// use mamey::criteria::{Collection, Index, Value, ValueType, indexed_values};
///
/// const ORDERS: &Collection = &Collection::new("orders", ValueType::Uuid)
///     .with_indexes(&[Index::new("customerId", ValueType::Text), Index::new("paid", ValueType::Bool)]);
///
/// let values = indexed_values(ORDERS, br#"{"lines": [], "customerId": "ada"}"#)?;
/// assert_eq!(values, [Value::Text("ada".to_owned()), Value::Null]);
/// # Ok::<(), mamey::Error>(())
/// ```
///
/// # Errors
/// `Misconfigured` when a field is not written as its type; `Invalid` when the document is not JSON.
pub fn indexed_values(collection: &Collection, json: &[u8]) -> Result<Vec<Value>> {
    let mut raws = vec![None; collection.indexes.len()];
    // Only an object has fields.
    if !raws.is_empty() && json.trim_ascii_start().starts_with(b"{") {
        let mut reader = serde_json::Deserializer::from_slice(json);
        reader.deserialize_map(IndexedFields { collection, raws: &mut raws }).map_err(|cause| {
            Error::invalid(format!("a document of `{}` is not JSON: {cause}", collection.name))
                .with_source(cause)
        })?;
    }
    let value = |((place, index), raw): ((usize, &super::Index), Option<&RawValue>)| match raw {
        None => Ok(Value::Null),
        Some(raw) => value_of(index.value, raw.get())
            .map_or_else(|| other_type(collection, place, raw.get()), Ok),
    };
    collection.indexes.iter().enumerate().zip(raws).map(value).collect()
}

/// A document of which only the indexed fields are kept, as they are written.
struct IndexedFields<'c, 'r, 'de> {
    collection: &'c Collection,
    raws: &'r mut [Option<&'de RawValue>],
}

impl<'de> Visitor<'de> for IndexedFields<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<(), M::Error> {
        while let Some(place) = fields.next_key_seed(Place(self.collection))? {
            match place.and_then(|place| self.raws.get_mut(place)) {
                Some(raw) => *raw = Some(fields.next_value()?),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The place among the indexes of the field whose name is read.
struct Place<'c>(&'c Collection);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, name: D) -> Result<Option<usize>, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.indexes.iter().position(|index| index.field == name))
    }
}

/// The value that a JSON scalar stands for; `None` when it is not written as this type.
fn value_of(of: ValueType, raw: &str) -> Option<Value> {
    if raw == "null" {
        return Some(Value::Null);
    }
    Some(match of {
        ValueType::Bool => Value::Bool(raw.parse().ok()?),
        ValueType::Int => Value::Int(raw.parse().ok()?),
        ValueType::Float => {
            let number = raw.parse().ok().filter(|number: &f64| number.is_finite())?;
            Value::Float(one_zero(number))
        }
        ValueType::Text => {
            let text = text(raw).filter(|text| is_indexable(text))?;
            Value::Text(text)
        }
        ValueType::Uuid => Value::Uuid(uuid(&text(raw)?)?),
        ValueType::Time => Value::Time(time(&text(raw)?)?),
    })
}

fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// With dashes or without: the two forms that serde writes as text.
fn uuid(text: &str) -> Option<Uuid> {
    matches!(text.len(), 32 | 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// What a [`Timestamp`] writes, and other forms of RFC 3339. A store's own functions read the same, so
/// no other letters may stand between date and time.
fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let usual = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    (usual || text.ends_with("us")).then(|| Timestamp::parse_rfc3339(text).ok()).flatten()
}

fn other_type(collection: &Collection, place: usize, raw: &str) -> Result<Value> {
    let index = collection.indexes.get(place);
    let field = index.map_or("", |index| index.field);
    let of = match index.map(|index| index.value) {
        Some(ValueType::Text) => format!("text of at most {INDEXED_TEXT_BYTES_MAX} bytes"),
        Some(other) => format!("{other:?}").to_lowercase(),
        None => String::new(),
    };
    let (name, raw) = (collection.name, shown(raw));
    Err(Error::misconfigured(format!(
        "`{field}` of `{name}` cannot be indexed: it is written as {raw}, not as {of}"
    ))
    .with_retry(Retry::Never))
}

/// The beginning of a text, for an error.
pub(crate) fn shown(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criteria::{Index, IndexValue};
    use proptest::prelude::*;
    use serde_json::json;

    const THINGS: &Collection = &Collection::new("things", ValueType::Int).with_indexes(&[
        Index::new("flag", ValueType::Bool),
        Index::new("count", ValueType::Int),
        Index::new("ratio", ValueType::Float),
        Index::new("label", ValueType::Text),
        Index::new("owner", ValueType::Uuid),
        Index::new("createdAt", ValueType::Time),
    ]);

    fn one(field: &str, json: &str) -> Result<Value> {
        let document = format!(r#" {{"other": [{{"{field}": 1}}], "{field}" : {json} }}"#);
        let place = THINGS.indexes.iter().position(|index| index.field == field).unwrap();
        indexed_values(THINGS, document.as_bytes()).map(|mut values| values.swap_remove(place))
    }

    #[test]
    fn missing_and_null_fields_have_no_value_and_only_the_top_level_counts() {
        let nothing = vec![Value::Null; THINGS.indexes.len()];
        for json in ["{}", r#"{"count": null, "in": {"count": 7}}"#, "[]", "\"count\"", "7"] {
            assert_eq!(indexed_values(THINGS, json.as_bytes()).unwrap(), nothing, "{json}");
        }
        assert!(indexed_values(THINGS, b"{\"count\": ").is_err());
    }

    #[test]
    fn scalars_are_read_as_they_are_written() {
        let int = |value| Value::Int(value);
        for (json, value) in
            [("7", int(7)), ("-0", int(0)), ("-9223372036854775808", int(i64::MIN))]
        {
            assert_eq!(one("count", json).unwrap(), value);
        }
        for (json, value) in [("-0.0", 0.0), ("7", 7.0), ("5e-324", 5e-324), ("1e300", 1e300)] {
            assert_eq!(one("ratio", json).unwrap(), Value::Float(value));
        }
        let label = |text: &str| Value::Text(text.to_owned());
        assert_eq!(one("label", r#""a\u0000\u00e9\n""#).unwrap(), label("a\0é\n"));
        assert_eq!(
            one("label", "\"a\", \"label\": \"b\"").unwrap(),
            label("b"),
            "the last one counts"
        );
        let owner = Value::Uuid(Uuid::from_u128(255));
        for json in
            ["\"00000000-0000-0000-0000-0000000000FF\"", "\"000000000000000000000000000000ff\""]
        {
            assert_eq!(one("owner", json).unwrap(), owner);
        }
        for (json, micros) in [
            ("\"1970-01-01T00:00:01.5Z\"", 1_500_000),
            ("\"1970-01-01 01:00:00.0000019+01:00\"", 1),
            ("\"-9223372036854775808us\"", i64::MIN),
        ] {
            let time = Value::Time(Timestamp::from_micros(micros));
            assert_eq!(one("createdAt", json).unwrap(), time);
        }
    }

    #[test]
    fn what_is_not_written_as_its_type_is_refused_by_name() {
        for (field, json) in [
            ("flag", "1"),
            ("count", "1.0"),
            ("count", "9223372036854775808"),
            ("count", "\"1\""),
            ("ratio", "\"1.5\""),
            ("ratio", "1e999"),
            ("label", "7"),
            ("owner", "\"urn:uuid:00000000-0000-0000-0000-0000000000ff\""),
            ("createdAt", "\"2016-12-31_23:59:59Z\""),
            ("createdAt", "1700000000"),
            ("createdAt", "{}"),
        ] {
            let error = one(field, json).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Misconfigured);
            let named = error.message().contains(field) && error.message().contains(json);
            assert!(named, "{error}");
        }
        let error = one("count", &format!("\"{}\"", "é".repeat(5000))).unwrap_err();
        assert!(error.message().len() < 300, "{error}");
    }

    #[test]
    fn a_small_float_is_the_decimal_that_serde_writes() {
        for number in [0.1_f32, 1_556_390.3, f32::MIN_POSITIVE, f32::MAX] {
            let json = serde_json::to_string(&number).unwrap();
            assert_eq!(one("ratio", &json).unwrap(), number.to_value());
        }
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_what_an_index_value_says(
            flag in any::<Option<bool>>(),
            count in any::<Option<i64>>(),
            (ratio, small) in (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
                prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO),
            label in any::<String>(),
            owner in any::<u128>(),
            at in any::<i64>(),
        ) {
            let (owner, at) = (Uuid::from_u128(owner), Timestamp::from_micros(at));
            let document = json!({"flag": flag, "count": count, "label": label, "owner": owner, "createdAt": at});
            for (ratio, value) in [
                (serde_json::to_string(&ratio).unwrap(), ratio.to_value()),
                (serde_json::to_string(&small).unwrap(), small.to_value()),
            ] {
                let mut document = document.to_string();
                document.truncate(document.len() - 1);
                let document = format!("{document},\"ratio\":{ratio}}}");
                let values = indexed_values(THINGS, document.as_bytes()).unwrap();
                let expected = [flag.to_value(), count.to_value(), value, label.to_value(), owner.to_value(), at.to_value()];
                prop_assert_eq!(values, expected);
            }
        }
    }
}
