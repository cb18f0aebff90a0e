//! Escapes the character NUL, which PostgreSQL cannot hold, in a way that keeps order and prefixes.

use std::borrow::Cow;

use mamey_core::criteria::Value;

/// The first character of an escape. NUL becomes two characters, and so does this one.
const MARK: char = '\u{1}';
const NUL: char = '\u{1}';
const ITSELF: char = '\u{2}';

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

/// Whether JSON text holds the escape of NUL, which `jsonb` refuses.
pub(crate) fn has_nul_escape(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json.as_bytes().get(..at).unwrap_or_default();
        before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
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

    #[test]
    fn only_a_real_escape_of_nul_counts() {
        assert!(has_nul_escape(r#""a\u0000""#) && has_nul_escape(r#""\\\u0000""#));
        assert!(!has_nul_escape(r#""\\u0000""#) && !has_nul_escape(r#""u0000""#));
    }
}
