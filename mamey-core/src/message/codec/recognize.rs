//! Recognizes a CloudEvent in structured mode by its body, for senders that leave out the media type.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::text::without_mark;
use crate::message::attribute::{ID, SOURCE, SPEC_VERSION, TYPE};

/// The members that tell the forms apart: of CloudEvents first, of the plain form then, which has
/// `type` as well.
const MEMBERS: [&str; 6] = [SPEC_VERSION, ID, SOURCE, TYPE, "sender", "payload"];

/// Whether a body is a CloudEvent in structured JSON, or a batch of them, judged by its members.
///
/// For bodies whose media type does not say it, such as `application/json` or none. An object is an
/// event if it has `specversion`, `id`, `source` and `type`, also beside the members of the plain
/// form, because no plain message has all of them and an event may have any extensions. An object
/// that has only some of them is an event unless it has `sender`, `type` and `payload`, which make it
/// a plain message. An array is a batch if its first element is an event.
///
/// ```
/// use mamey::message::holds_cloud_event;
///
/// assert!(holds_cloud_event(br#"{"specversion":"1.0","id":"1","source":"/shop","type":"sold"}"#));
/// assert!(!holds_cloud_event(br#"{"sender":"shop","type":"sold","payload":{}}"#));
/// ```
#[must_use]
pub fn holds_cloud_event(body: &[u8]) -> bool {
    let mut members = Members::default();
    let mut json = serde_json::Deserializer::from_slice(without_mark(body));
    // What is no JSON is told by whoever reads it; what came before the fault says as what.
    let _ = json.deserialize_any(&mut members);
    members.make_an_event()
}

/// Which of [`MEMBERS`] were seen.
#[derive(Default)]
struct Members([bool; MEMBERS.len()]);

impl Members {
    const fn make_an_event(&self) -> bool {
        let [spec_version, id, source, r#type, sender, payload] = self.0;
        let is_plain = sender && r#type && payload;
        let is_identified = id && source && r#type;
        (spec_version && is_identified) || ((spec_version || is_identified) && !is_plain)
    }
}

impl<'de> Visitor<'de> for &mut Members {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Name(self))?.is_some() {
            if let [true, true, true, true, ..] = self.0 {
                // Nothing else can change the answer.
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        seq.next_element_seed(Element(self)).map(drop)
    }
}

/// The first element of an array.
struct Element<'a>(&'a mut Members);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

/// The name of a member, which is not copied.
struct Name<'a>(&'a mut Members);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        if let Some(at) = MEMBERS.iter().position(|member| *member == name) {
            self.0.0[at] = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#""specversion":"1.0","id":"1","source":"s","type":"t""#;
    const PLAIN: &str = r#""sender":"s","target":"t","type":"t","payload":{"id":1}"#;

    #[test]
    fn each_form_is_recognized_by_its_own_members() {
        for event in [
            format!("{{{EVENT}}}"),
            format!("\u{feff} {{{EVENT},\"data\":[[[{{"),
            format!("{{{EVENT},\"sender\":\"x\",\"payload\":1}}"),
            format!("{{\"payload\":1,\"sender\":\"x\",{EVENT}}}"),
            r#"{"spec\u0076ersion":"0.3","data":1}"#.to_owned(),
            r#"{"id":"1","source":"s","type":"t","data":1}"#.to_owned(),
            format!("[{{{EVENT}}},{{}}]"),
            format!(" [ {{{EVENT}"),
        ] {
            assert!(holds_cloud_event(event.as_bytes()), "{event}");
        }
        for other in [
            format!("{{{PLAIN}}}"),
            format!("{{{PLAIN},\"specversion\":\"1.0\"}}"),
            format!("{{{PLAIN},\"id\":\"1\",\"source\":\"s\"}}"),
            format!("{{\"payload\":{{{EVENT}}},\"sender\":\"s\",\"type\":\"t\"}}"),
            format!("[{{{PLAIN}}},{{{EVENT}}}]"),
            r#"{"id":"1","type":"t"}"#.to_owned(),
            "[".repeat(100_000),
            "{\"a\":".repeat(100_000),
        ] {
            assert!(!holds_cloud_event(other.as_bytes()), "{other:.80}");
        }
        for other in [&b""[..], b"null", b"\"specversion\"", b"{\"specversion", &[0xff, 0xfe]] {
            assert!(!holds_cloud_event(other), "{other:?}");
        }
    }
}
