//! W3C trace context: the trace that a message belongs to.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::IdSource;
use crate::{Error, Result};

/// The longest `tracestate` that is passed on, in bytes; the W3C requires at least 512.
const STATE_BYTES_MAX: usize = 512;

/// A position in a distributed trace, as in the W3C headers `traceparent` and `tracestate`.
///
/// ```
/// use mamey::message::TraceContext;
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace = TraceContext::parse(parent, None)?;
/// assert!(trace.is_sampled());
/// assert_eq!(trace.traceparent(), parent);
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, Option<String>)", into = "(String, Option<String>)")]
pub struct TraceContext {
    /// As a UUID rather than a number, whose alignment would make every [`Cause`] larger.
    ///
    /// [`Cause`]: crate::context::Cause
    trace_id: Uuid,
    parent_id: NonZeroU64,
    flags: u8,
    /// Rarely there, so it takes one word.
    state: Option<Arc<Box<str>>>,
}

/// A value of the header `traceparent` as this version of the W3C's form has it.
type Traceparent = [u8; 55];

impl TraceContext {
    /// A new trace, sampled.
    #[must_use]
    pub fn root(ids: &dyn IdSource) -> Self {
        let (trace_id, parent_id) = (ids.next_uuid(), ids.span_id());
        Self { trace_id, parent_id, flags: 1, state: None }
    }

    /// The next step of the same trace: a new parent, the same flags and state.
    #[must_use]
    pub fn child(&self, ids: &dyn IdSource) -> Self {
        Self { parent_id: ids.span_id(), ..self.clone() }
    }

    /// Reads the values of the two headers. A `tracestate` that is too long is dropped, as the
    /// W3C allows.
    ///
    /// # Errors
    /// `Invalid` when `traceparent` is malformed or all zeros.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Result<Self> {
        let trace: Self = traceparent.parse()?;
        Ok(match tracestate {
            Some(state) => trace.with_state(state),
            None => trace,
        })
    }

    /// The same position with the value of the header `tracestate`, which is dropped when it is too
    /// long.
    #[must_use]
    pub(crate) fn with_state(mut self, tracestate: &str) -> Self {
        let fits = !tracestate.is_empty() && tracestate.len() <= STATE_BYTES_MAX;
        self.state = fits.then(|| Arc::new(tracestate.into()));
        self
    }

    /// The trace's id.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id.as_u128()
    }

    /// The id of the span that sent the message.
    #[must_use]
    pub const fn parent_id(&self) -> u64 {
        self.parent_id.get()
    }

    /// Whether the sender recorded this trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The value of the header `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.to_string()
    }

    /// The value of the header `tracestate`.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref().map(AsRef::as_ref)
    }
}

impl TraceContext {
    fn to_ascii(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let (high, low) = self.trace_id.as_u64_pair();
        write_hex(&mut text[3..19], high);
        write_hex(&mut text[19..35], low);
        write_hex(&mut text[36..52], self.parent_id.get());
        write_hex(&mut text[53..55], self.flags.into());
        text
    }
}

/// Fills all of `text` with the last hexadecimal digits of a number.
fn write_hex(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.to_ascii()).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for TraceContext {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_traceparent(text)
            .ok_or_else(|| Error::invalid(format!("`{text}` is not a W3C traceparent")))
    }
}

fn parse_traceparent(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = Uuid::from_u128(hex(parts.next()?, 32)?);
    let parent_id = NonZeroU64::new(u64::try_from(hex(parts.next()?, 16)?).ok()?)?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    // Version ff is forbidden. A later version may have more parts, version 00 may not.
    let trailing_is_fine = version > 0 || parts.next().is_none();
    let valid = version < 0xff && trailing_is_fine && !trace_id.is_nil();
    valid.then_some(TraceContext { trace_id, parent_id, flags, state: None })
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lowercase = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(lowercase) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

impl TryFrom<(String, Option<String>)> for TraceContext {
    type Error = Error;

    fn try_from((parent, state): (String, Option<String>)) -> Result<Self> {
        Self::parse(&parent, state.as_deref())
    }
}

impl From<TraceContext> for (String, Option<String>) {
    fn from(trace: TraceContext) -> Self {
        (trace.traceparent(), trace.tracestate().map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UuidV7Source;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_survives_the_round_trip() {
        let trace = TraceContext::parse(PARENT, Some("vendor=1")).unwrap();
        assert_eq!(trace.traceparent(), PARENT);
        assert_eq!(trace.tracestate(), Some("vendor=1"));
        assert!(trace.is_sampled());
    }

    #[test]
    fn malformed_headers_are_refused() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let ids = UuidV7Source::default();
        let root = TraceContext::root(&ids);
        let child = root.child(&ids);
        assert_eq!(child.trace_id(), root.trace_id());
        assert_ne!(child.parent_id(), root.parent_id());
    }

    proptest! {
        #[test]
        fn a_trace_survives_its_headers(
            trace_id in 1_u128.., parent_id in any::<NonZeroU64>(), flags: u8, state in "[ -~]{0,512}",
        ) {
            let state = (!state.is_empty()).then(|| Arc::new(state.into()));
            let trace_id = Uuid::from_u128(trace_id);
            let trace = TraceContext { trace_id, parent_id, flags, state };
            let again = TraceContext::parse(&trace.traceparent(), trace.tracestate()).unwrap();
            prop_assert_eq!(&again, &trace);
            let json = serde_json::to_string(&trace).unwrap();
            prop_assert_eq!(serde_json::from_str::<TraceContext>(&json).unwrap(), trace);
        }

        #[test]
        fn any_header_is_read_or_refused(parent in ".*", state in ".*") {
            let _read_or_refused = TraceContext::parse(&parent, Some(&state));
        }
    }
}
