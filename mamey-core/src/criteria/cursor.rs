//! Keyset cursors: where a page ended, as a token that callers pass back.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Value;
use crate::{Error, Result};

/// The longest token that is read, in characters: enough for four sort keys of the longest indexed
/// text, escaped as JSON.
const TOKEN_CHARS_MAX: usize = 128 * 1024;

/// Where a page ended: the values of its last document's sort keys and id.
///
/// Print it to give it to a caller, and parse it when the caller sends it back. It is a position,
/// never a permission: a caller who forges one only starts somewhere else.
///
/// ```
/// use mamey::criteria::Cursor;
///
/// assert!("not a cursor".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(super) Vec<Value>);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(token: &str) -> Result<Self> {
        let malformed =
            || Error::invalid("the page cursor is malformed; start from the first page");
        if token.len() > TOKEN_CHARS_MAX {
            return Err(malformed());
        }
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| malformed())?;
        serde_json::from_slice(&json).map(Self).map_err(|_| malformed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    const EXTREME_FLOATS: [f64; 6] =
        [f64::NEG_INFINITY, f64::MIN, -0.0, 0.0, f64::MIN_POSITIVE, f64::INFINITY];

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::Float),
            prop::sample::select(EXTREME_FLOATS.to_vec()).prop_map(Value::Float),
            ".*".prop_map(Value::Text),
            any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))),
            any::<i64>().prop_map(|us| Value::Time(Timestamp::from_micros(us))),
            (0..4_000_000_000_000_000_i64).prop_map(|us| Value::Time(Timestamp::from_micros(us))),
        ]
    }

    proptest! {
        #[test]
        fn a_cursor_survives_its_token(values in prop::collection::vec(value(), 0..4)) {
            let cursor = Cursor(values);
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn any_token_is_read_or_refused(token in ".*") {
            let _read_or_refused = token.parse::<Cursor>();
        }
    }
}
