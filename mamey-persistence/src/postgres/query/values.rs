//! Writes values into columns and reads them and documents back.
//!
//! Text is escaped, because PostgreSQL cannot hold the character NUL; order and prefixes stay.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Value, ValueType};
use sqlx::postgres::PgRow;
use sqlx::{Row, ValueRef};

/// The first character of an escape. NUL becomes two characters, and so does this one.
const MARK: char = '\u{1}';
const NUL: char = '\u{1}';
const ITSELF: char = '\u{2}';

/// A duration as functions take it, in microseconds; a longer one is clamped.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Text as it is stored. The smaller of two texts stays the smaller, and a prefix stays a prefix.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([MARK, NUL]),
            MARK => escaped.extend([MARK, ITSELF]),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The text that [`escape`] was given.
pub(crate) fn unescape(text: String) -> String {
    if !text.contains(MARK) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            MARK if characters.next() == Some(NUL) => plain.push('\0'),
            other => plain.push(other),
        }
    }
    plain
}

/// A value as the text that PostgreSQL casts to the column's type; `None` for null.
pub(crate) fn value_text(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Null => return None,
        Value::Text(text) => escape(text),
        Value::Time(time) => Cow::Owned(time.as_micros().to_string()),
        other => Cow::Owned(other.to_string()),
    })
}

/// How many bytes the text of a document has.
pub(crate) fn json_len(row: &PgRow, at: usize) -> Result<usize, sqlx::Error> {
    Ok(row.try_get_raw(at)?.as_bytes().map_err(sqlx::Error::Decode)?.len())
}

/// The text of a document, which the type `json` keeps and sends as it was written.
pub(crate) fn read_json(row: &PgRow, at: usize) -> Result<Bytes, sqlx::Error> {
    let written = row.try_get_raw(at)?.as_bytes().map_err(sqlx::Error::Decode)?;
    Ok(Bytes::copy_from_slice(written))
}

/// The value in a column of this type.
pub(crate) fn read_value(row: &PgRow, at: usize, of: ValueType) -> Result<Value, sqlx::Error> {
    Ok(match of {
        ValueType::Bool => Value::Bool(row.try_get(at)?),
        ValueType::Int => Value::Int(row.try_get(at)?),
        ValueType::Float => Value::Float(row.try_get(at)?),
        ValueType::Text => Value::Text(unescape(row.try_get(at)?)),
        ValueType::Uuid => Value::Uuid(row.try_get(at)?),
        ValueType::Time => Value::Time(Timestamp::from_micros(row.try_get(at)?)),
    })
}

/// The value in a column of this type, which may be null.
pub(crate) fn read_value_or_null(
    row: &PgRow,
    at: usize,
    of: ValueType,
) -> Result<Value, sqlx::Error> {
    if row.try_get_raw(at)?.is_null() { Ok(Value::Null) } else { read_value(row, at, of) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 9] = ["", "\0", "\0\0", "\0a", "\u{1}", "\u{1}\0", "\u{2}", "a", "a\0b"];

    #[test]
    fn escaped_text_keeps_order_and_prefix_and_comes_back() {
        for one in TEXTS {
            assert_eq!(unescape(escape(one).into_owned()), one);
            assert!(!escape(one).contains('\0'));
            for two in TEXTS {
                assert_eq!(escape(one).cmp(&escape(two)), one.cmp(two), "{one:?} {two:?}");
                let prefix = escape(one).starts_with(&*escape(two));
                assert_eq!(prefix, one.starts_with(two), "{one:?} {two:?}");
            }
        }
    }
}
