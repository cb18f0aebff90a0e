//! Measures how deep JSON is nested: while it is written, and without recursion once it is.

use std::io::{Result, Write};

use serde_json::ser::Formatter;

/// How deep the JSON nests that is written with it as the formatter, which is `serde_json`'s compact
/// one.
#[derive(Default)]
pub(super) struct Nesting {
    open: usize,
    deepest: usize,
}

impl Nesting {
    /// The number of arrays and objects that were open at once at the deepest place.
    pub(super) const fn deepest(&self) -> usize {
        self.deepest
    }

    fn open(&mut self) {
        self.open += 1;
        self.reach(self.open);
    }

    fn reach(&mut self, depth: usize) {
        self.deepest = self.deepest.max(depth);
    }
}

impl Formatter for &mut Nesting {
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> Result<()> {
        self.open();
        writer.write_all(b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> Result<()> {
        self.open -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> Result<()> {
        self.open();
        writer.write_all(b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> Result<()> {
        self.open -= 1;
        writer.write_all(b"}")
    }

    /// JSON that was written elsewhere: the content of a `RawValue`.
    fn write_raw_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> Result<()> {
        self.reach(self.open + depth(fragment.as_bytes()));
        writer.write_all(fragment.as_bytes())
    }
}

/// The number of arrays and objects that are open at once at the deepest place of valid JSON.
pub(super) fn depth(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0_usize, 0_usize);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            b'"' => skip_text(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Goes on after the quote that ends the text.
fn skip_text(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn text_does_not_count() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}]}"#, 3),
            (r#"["[[[[", "\"[[", "\\"]"#, 1),
            (r#"[[],[[]],{}]"#, 3),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
