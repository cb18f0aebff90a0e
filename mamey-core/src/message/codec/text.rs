//! The text encoding of JSON that comes from outside.

use crate::message::media_type::charset;

/// The byte order mark in UTF-8, which readers of JSON may ignore.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The JSON without a byte order mark before it.
pub(crate) fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(MARK).unwrap_or(json)
}

/// What to add to the error for a body that is not JSON, when it is text in another encoding.
pub(super) fn encoding_hint(content_type: &str, body: &[u8]) -> String {
    let is_utf16 = body.starts_with(&[0xff, 0xfe])
        || body.starts_with(&[0xfe, 0xff])
        || matches!(body, [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..] | [0, 0, 0, b'{' | b'[', ..]);
    if is_utf16 {
        return "; it looks like UTF-16 or UTF-32: send it in UTF-8".to_owned();
    }
    match charset(content_type) {
        Some(other) if !is_utf8(other) => {
            format!("; its charset is `{other:.32}`, JSON is read in UTF-8 only: send it in UTF-8")
        }
        _ => String::new(),
    }
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|it| charset.eq_ignore_ascii_case(it))
}
