//! Values of ids and indexed fields, as every store understands them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;

/// The longest text of an id or an indexed field, in bytes as [`indexed_bytes`] counts them: every
/// store can index it.
pub const INDEXED_TEXT_BYTES_MAX: usize = 2048;

/// How many bytes a text has in an index. U+0000 and U+0001 count twice: a store that cannot hold
/// U+0000 writes both as two characters.
///
/// ```
/// use mamey::criteria::indexed_bytes;
///
/// assert_eq!((indexed_bytes("é"), indexed_bytes("a\0")), (2, 3));
/// ```
#[must_use]
pub fn indexed_bytes(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| *byte <= 1).count()
}

/// Whether an index can hold a text.
pub(crate) fn is_indexable(text: &str) -> bool {
    text.len() <= INDEXED_TEXT_BYTES_MAX / 2 || indexed_bytes(text) <= INDEXED_TEXT_BYTES_MAX
}

/// The type of an id or an indexed field: it decides the column's type.
///
/// Exhaustive: a store must map every type, or it could not open the collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// True or false.
    Bool,
    /// A signed integer of 64 bits.
    Int,
    /// A floating-point number of 64 bits.
    Float,
    /// Text, ordered by its bytes.
    Text,
    /// A UUID, ordered by its bytes.
    Uuid,
    /// A moment in microseconds.
    Time,
}

/// One value of an id or an indexed field. Exhaustive, as [`ValueType`] is.
///
/// Values of one type are ordered as stores order them: null first, text and UUIDs by bytes, both
/// zeros alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    #[serde(rename = "n")]
    Null,
    /// See [`ValueType::Bool`].
    #[serde(rename = "b")]
    Bool(bool),
    /// See [`ValueType::Int`].
    #[serde(rename = "i")]
    Int(i64),
    /// See [`ValueType::Float`].
    #[serde(rename = "f", with = "float")]
    Float(f64),
    /// See [`ValueType::Text`].
    #[serde(rename = "t")]
    Text(String),
    /// See [`ValueType::Uuid`].
    #[serde(rename = "u")]
    Uuid(Uuid),
    /// See [`ValueType::Time`].
    #[serde(rename = "m")]
    Time(Timestamp),
}

/// JSON has no infinity, but an index may contain one, and a page may end there.
mod float {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const INFINITE: &str = "inf";
    const MINUS_INFINITE: &str = "-inf";

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        Finite(f64),
        Named(String),
    }

    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        match *value {
            f64::INFINITY => INFINITE.serialize(to),
            f64::NEG_INFINITY => MINUS_INFINITE.serialize(to),
            finite => finite.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        match Read::deserialize(from)? {
            Read::Finite(value) => Ok(value),
            Read::Named(name) if name == INFINITE => Ok(f64::INFINITY),
            Read::Named(name) if name == MINUS_INFINITE => Ok(f64::NEG_INFINITY),
            Read::Named(_) => Err(D::Error::custom("neither a number nor an infinity")),
        }
    }
}

impl Value {
    /// The value's type; `None` for null.
    #[must_use]
    pub const fn value_type(&self) -> Option<ValueType> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(ValueType::Bool),
            Self::Int(_) => Some(ValueType::Int),
            Self::Float(_) => Some(ValueType::Float),
            Self::Text(_) => Some(ValueType::Text),
            Self::Uuid(_) => Some(ValueType::Uuid),
            Self::Time(_) => Some(ValueType::Time),
        }
    }

    /// Whether this is null.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Text(_) => 4,
            Self::Uuid(_) => 5,
            Self::Time(_) => 6,
        }
    }
}

/// Stores do not distinguish the two zeros, so neither do we: negative zero becomes zero.
pub(super) fn one_zero(number: f64) -> f64 {
    number + 0.0
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Int(one), Self::Int(two)) => one.cmp(two),
            (Self::Float(one), Self::Float(two)) => one_zero(*one).total_cmp(&one_zero(*two)),
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            (Self::Uuid(one), Self::Uuid(two)) => one.cmp(two),
            (Self::Time(one), Self::Time(two)) => one.cmp(two),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => value.hash(state),
            Self::Float(value) => one_zero(*value).to_bits().hash(state),
            Self::Text(value) => value.hash(state),
            Self::Uuid(value) => value.hash(state),
            Self::Time(value) => value.hash(state),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Uuid(value) => value.fmt(f),
            Self::Time(value) => value.fmt(f),
        }
    }
}

/// A type that can be an aggregate's id or an indexed field.
///
/// Derive it on an enum without fields (indexed under the name that serde writes) or on a newtype of
/// another indexable type. An implementation by hand must say what its `Serialize` writes: a save that
/// finds a difference is refused. `u64` is missing on purpose, because no store can order it: use `i64`.
///
/// ```
/// use mamey::criteria::{IndexValue, Value};
///
/// assert_eq!(7_u32.to_value(), Value::Int(7));
/// assert_eq!(None::<String>.to_value(), Value::Null);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an id or an indexed field",
    note = "use an integer up to `i64`, `f64`, `bool`, `String`, `Uuid`, `Timestamp`, a typed id, or an `Option` of these",
    note = "derive `mamey::IndexValue` on an enum without fields or on a newtype of one of these"
)]
pub trait IndexValue: Clone + Send + Sync + 'static {
    /// The type of its values.
    const TYPE: ValueType;

    /// This value as it is stored in the index.
    fn to_value(&self) -> Value;
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl IndexValue for $integer {
            const TYPE: ValueType = ValueType::Int;
            fn to_value(&self) -> Value {
                Value::Int(i64::from(*self))
            }
        }
    )*};
}

integers! { i8 i16 i32 i64 u8 u16 u32 }

macro_rules! scalars {
    ($($scalar:ty => $kind:ident, $convert:expr;)*) => {$(
        impl IndexValue for $scalar {
            const TYPE: ValueType = ValueType::$kind;
            fn to_value(&self) -> Value {
                let convert: fn(&Self) -> _ = $convert;
                Value::$kind(convert(self))
            }
        }
    )*};
}

scalars! {
    bool => Bool, |value| *value;
    f64 => Float, |value| one_zero(*value);
    f32 => Float, |value| one_zero(as_written(*value));
    String => Text, Clone::clone;
    Uuid => Uuid, |value| *value;
    Timestamp => Time, |value| *value;
}

/// JSON has 0.1 for the `f32` nearest to it; as an `f64` that would be 0.10000000149.
fn as_written(value: f32) -> f64 {
    let written = serde_json::to_string(&value).ok();
    written.and_then(|text| text.parse().ok()).unwrap_or_else(|| f64::from(value))
}

impl<T: IndexValue> IndexValue for Option<T> {
    const TYPE: ValueType = T::TYPE;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}
