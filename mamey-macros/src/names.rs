//! Checks and derives the names that are sent or become columns.

use syn::{Error, LitStr, Result};

/// The longest name of a message or code, in bytes; as `mamey_core` checks it.
const DOTTED_NAME_BYTES_MAX: usize = 120;

/// The longest name of a collection or an indexed field, in bytes: every database accepts it, with
/// room for an index's prefix.
const COLUMN_NAME_BYTES_MAX: usize = 48;

/// Checks words of lowercase letters, digits and dashes, joined by dots.
pub(crate) fn check_dotted(literal: &LitStr, example: &str) -> Result<()> {
    if is_dotted(&literal.value()) {
        return Ok(());
    }
    Err(Error::new(
        literal.span(),
        format!(
            "use words of lowercase letters, digits and dashes joined by dots, \
             such as `{example}`, at most {DOTTED_NAME_BYTES_MAX} bytes"
        ),
    ))
}

/// Whether the text is words of lowercase letters, digits and dashes, joined by dots.
pub(crate) fn is_dotted(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let word = |word: &str| !word.is_empty() && word.bytes().all(letter);
    text.len() <= DOTTED_NAME_BYTES_MAX && text.split('.').all(word)
}

/// Whether every store accepts the text as the name of a collection.
pub(crate) fn is_column(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= COLUMN_NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(letter)
}

/// Whether every store accepts the text as the name of an indexed field.
pub(crate) fn is_field(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.len() <= COLUMN_NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(letter)
}

/// What [`is_field`] requires, in words.
pub(crate) fn field_rule() -> String {
    format!(
        "letters, digits, underscores and dashes, starting with a letter, \
         at most {COLUMN_NAME_BYTES_MAX} bytes"
    )
}

/// What [`is_column`] requires, in words.
pub(crate) fn column_rule() -> String {
    format!(
        "lowercase letters, digits and underscores, starting with a letter, \
         at most {COLUMN_NAME_BYTES_MAX} bytes"
    )
}

/// `PlaceOrder` as `place-order`; a run of capitals is one word, as in `http-request`.
pub(crate) fn kebab_case(ident: &str) -> String {
    let letters: Vec<char> = ident.chars().collect();
    let mut kebab = String::with_capacity(ident.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        if before.is_some_and(|before| starts_word(*before, *letter, after)) {
            kebab.push('-');
        }
        if *letter != '_' {
            kebab.extend(letter.to_lowercase());
        }
    }
    kebab
}

fn starts_word(before: char, letter: char, after: Option<&char>) -> bool {
    let ends_capitals = before.is_uppercase() && after.is_some_and(|after| after.is_lowercase());
    letter == '_'
        || letter.is_uppercase() && before != '_' && (!before.is_uppercase() || ends_capitals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_become_words_joined_by_dashes() {
        for (ident, kebab) in [
            ("PlaceOrder", "place-order"),
            ("Order", "order"),
            ("HTTPRequest", "http-request"),
            ("OrderV2", "order-v2"),
            ("FetchURL", "fetch-url"),
            ("A", "a"),
            ("Snake_Case", "snake-case"),
        ] {
            assert_eq!(kebab_case(ident), kebab);
        }
    }

    #[test]
    fn names_that_some_store_would_refuse_are_refused() {
        for bad in ["", "1a", "_a", "A", "a-b", "a b", "é", &"x".repeat(49)] {
            assert!(!is_column(bad), "{bad}");
        }
        assert!(is_column("order_lines2"));
        for bad in ["", "1a", "_a", "a b", "a.b", "a\"", "\u{e9}", &"x".repeat(49)] {
            assert!(!is_field(bad), "{bad}");
        }
        assert!(is_field("orderLines-2_A"));
    }

    #[test]
    fn dotted_names_follow_the_rule_of_the_core() {
        let long = "x".repeat(DOTTED_NAME_BYTES_MAX);
        let longer = "x".repeat(DOTTED_NAME_BYTES_MAX + 1);
        for name in ["", ".", "a.", "A.b", "a b", "a..b", "a", "a.b-c", "a_b", &long, &longer] {
            let core = mamey_core::message::validate_message_name(name).is_ok();
            assert_eq!(is_dotted(name), core, "{name}");
        }
    }
}
