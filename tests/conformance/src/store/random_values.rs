//! Random values of each indexable type, as serde writes them and as an index holds them.

use mamey_core::clock::Timestamp;
use mamey_core::criteria::{INDEXED_TEXT_BYTES_MAX, Value, ValueType, indexed_bytes};
use uuid::Uuid;

use super::fixture::Numbers;

/// The ends of the ranges that characters are taken from; those that stores treat apart come often.
const RANGES: [(u32, u32); 7] = [
    (0, 1),
    (0, 0x7f),
    (0x20, 0x7e),
    (0x80, 0x7ff),
    (0x300, 0x36f),
    (0x800, 0xffff),
    (0x1_0000, 0x10_ffff),
];

/// A value in JSON, and what an index holds of it.
pub(super) fn random_value(of: ValueType, numbers: &mut Numbers) -> (String, Value) {
    match of {
        ValueType::Bool => {
            let value = numbers.below(2) == 1;
            (value.to_string(), Value::Bool(value))
        }
        ValueType::Int => {
            let value = integer(numbers);
            (value.to_string(), Value::Int(value))
        }
        ValueType::Float => {
            let value = f64::from_bits(numbers.below(u64::MAX));
            let value = if value.is_finite() { value } else { 1.5 };
            (format!("{value:?}"), Value::Float(if value == 0.0 { 0.0 } else { value }))
        }
        ValueType::Text => {
            let text = text(numbers);
            (json(&text, numbers), Value::Text(text))
        }
        ValueType::Uuid => {
            let id = Uuid::from_u64_pair(numbers.below(u64::MAX), numbers.below(u64::MAX));
            (format!("\"{id}\""), Value::Uuid(id))
        }
        ValueType::Time => {
            let time = Timestamp::from_micros(integer(numbers));
            (format!("\"{time}\""), Value::Time(time))
        }
    }
}

/// Of any size, the small ones as often as the large ones.
fn integer(numbers: &mut Numbers) -> i64 {
    let bits = numbers.below(u64::MAX).cast_signed();
    bits >> numbers.below(64)
}

/// Mostly short; some are as long as an index allows.
fn text(numbers: &mut Numbers) -> String {
    let characters = if numbers.below(16) == 0 { INDEXED_TEXT_BYTES_MAX } else { 12 };
    let mut text = String::new();
    for _ in 0..numbers.below(characters as u64 + 1) {
        let one = character(numbers);
        if indexed_bytes(&text) + 4 > INDEXED_TEXT_BYTES_MAX {
            break;
        }
        text.push(one);
    }
    text
}

fn character(numbers: &mut Numbers) -> char {
    let range = usize::try_from(numbers.below(RANGES.len() as u64)).unwrap();
    let (first, last) = RANGES[range];
    let code = first + u32::try_from(numbers.below(u64::from(last - first) + 1)).unwrap();
    char::from_u32(code).unwrap_or('\u{fffd}')
}

/// The text in JSON, with escapes where they are needed, and sometimes where they are not.
fn json(text: &str, numbers: &mut Numbers) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        if character < ' ' || matches!(character, '"' | '\\') || numbers.below(8) == 0 {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                json.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            json.push(character);
        }
    }
    json.push('"');
    json
}
