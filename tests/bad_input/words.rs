//! Checks that an error names the problem and its fix.

use mamey::{Error, ErrorKind, Result};

/// The error has this kind and holds each of these words.
#[track_caller]
pub fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_holds(&error.to_string(), words);
}

/// As [`assert_says`], for a call that must fail.
#[track_caller]
pub fn assert_fails<T>(result: Result<T>, kind: ErrorKind, words: &[&str]) {
    match result {
        Ok(_) => panic!("it succeeded, and should say {words:?}"),
        Err(error) => assert_says(&error, kind, words),
    }
}

#[track_caller]
pub fn assert_holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}
