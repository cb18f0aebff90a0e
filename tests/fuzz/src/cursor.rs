//! Tokens of pages, which callers pass back.

use mamey::ErrorKind;
use mamey::criteria::Cursor;

/// The input is a token; one that is read must mean the same when it is printed and read again.
pub(crate) fn token(input: &[u8]) {
    let Ok(token) = std::str::from_utf8(input) else { return };
    match token.parse::<Cursor>() {
        Ok(cursor) => {
            let again = cursor.to_string().parse::<Cursor>();
            assert_eq!(again.expect("a printed token can be read"), cursor, "the position moved");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}"),
    }
}
