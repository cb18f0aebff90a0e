//! What was hard for some store to give back as it was written: JSON, and bytes that are none.

use bytes::Bytes;

/// As deep as an aggregate, a payload or a reply may be nested.
const DEPTH: usize = 120;

/// JSON that means nothing special.
const SMALL: &[(&str, &str)] = &[
    ("null", "null"),
    ("true", "true"),
    ("a number", "0"),
    ("an empty text", "\"\""),
    ("an empty list", "[]"),
    ("an empty object", "{}"),
    ("null is not missing", r#"{"a":null,"b":[null,{}],"c":{"d":null}}"#),
    ("the order of keys", r#"{"b":1,"a":2,"C":3,"aa":4,"B":5,"é":6,"10":7,"9":8}"#),
    ("an empty key", r#"{"":1,"a":{"":{"":null}}}"#),
    ("a key twice", r#"{"a":1,"b":2,"a":3,"a":null}"#),
    ("keys that differ by an escape", r#"{"a":1,"\u0061":2,"a\u0000":3}"#),
    ("spaces", " {\r\n\t\"a\" : [ 1 ,2,  3 ]\n, \"b\":\t{ }\n} \n"),
    ("zeros", "[0,-0,0.0,-0.0,0e0,-0e-9,0.000,1.0,1.10]"),
    ("exponents", "[1e16,1E16,1e+16,10000000000000000,1e-7,0.0000001,1.5e300,1E-300]"),
    ("the ends of floats", "[5e-324,2.2250738585072014e-308,1.7976931348623157e308,-5e-324]"),
    ("the ends of integers", "[9223372036854775807,-9223372036854775808,18446744073709551615]"),
    ("numbers of many digits", "[123456789012345678901234567890,0.1000000000000000055511151231]"),
    ("a number beyond floats", "{\"far\":1e400,\"near\":1e-400}"),
    ("escapes", r#"["\"\\\/\b\f\n\r\t","\u0041\u00e9\u2615","/","\\u0000","\\\\u0000"]"#),
    ("control characters", r#"{"\u0000":"\u0000\u0000","a":"\u0001\u001f\u007f \\\u0000"}"#),
    ("half of a surrogate pair", r#"["\ud800","\uDFFF\ud83d","a\udc00b",{"\udbff":1}]"#),
    ("an escaped surrogate pair", r#"["\ud83d\ude00","\uD83D\uDE00","😀"]"#),
    ("composed and decomposed", "[\"\u{e9}\",\"e\u{301}\",\"\u{fb01}\",\"\u{1e9e}ß\"]"),
    ("what is not seen", "[\"\u{feff}\u{200b}\u{2028}\u{2029}\u{7f}\u{85}\u{ad}\u{202e}\"]"),
];

/// Names and bytes of documents, which are JSON.
pub(super) fn documents() -> Vec<(String, Bytes)> {
    let small = SMALL.iter().map(|(name, json)| ((*name).to_owned(), (*json).to_owned()));
    let large = [
        ("every plane", format!("\"{}\"", planes())),
        ("deep lists", format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        ("deep objects", format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH))),
        ("many tiny numbers", format!("[{}1]", "1e-300,".repeat(200_000))),
        ("a text of 1 MiB", format!("\"{}\"", "x".repeat(1 << 20))),
        ("a text of 1 MiB in four-byte characters", format!("\"{}\"", "😀".repeat(1 << 18))),
        ("a text of many escapes", format!("\"{}\"", r"\u0000\\\ud800".repeat(10_000))),
        ("a long key", format!("{{\"{}\":1}}", "k".repeat(100_000))),
    ];
    let large = large.map(|(name, json)| (name.to_owned(), json));
    small.chain(large).map(|(name, json)| (name, Bytes::from(json))).collect()
}

/// Names and bytes of payloads and replies, which need not be JSON.
pub(super) fn payloads() -> Vec<(String, Bytes)> {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut payloads = documents();
    payloads.push(("nothing".to_owned(), Bytes::new()));
    payloads.push(("every byte".to_owned(), Bytes::from(every_byte)));
    payloads
}

/// The ends of each plane of Unicode, with the characters that are none, and some between.
fn planes() -> String {
    let plane = |plane: u32| {
        [0x20, 0x7f, 0xe9, 0x1000, 0xd7ff, 0xe000, 0xfdd0, 0xfffd, 0xfffe, 0xffff]
            .map(|within| plane << 16 | within)
    };
    (0..=16).flat_map(plane).filter_map(char::from_u32).collect()
}

/// Texts of keys, names and reasons.
pub(super) const TEXTS: [&str; 12] = [
    "plain",
    "\0",
    "a\0\u{1}\u{2}b",
    "'; DROP TABLE notes; --",
    "\"\\\r\n\t\u{1f}\u{7f}",
    "\\u0000\\ud800",
    "%_*?{}[]$1",
    " ",
    "é e\u{301}",
    "\u{feff}\u{202e}\u{fffe}",
    "😀\u{10ffff}",
    "{\"a\":1e16}",
];
