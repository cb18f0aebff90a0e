//! The W3C headers that say which trace a message belongs to.

use mamey::ErrorKind;
use mamey::message::TraceContext;

/// The input is `traceparent`, a line's end, and `tracestate`.
pub(crate) fn headers(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (parent, state) = match text.split_once('\n') {
        Some((parent, state)) => (parent, Some(state)),
        None => (text, None),
    };
    match TraceContext::parse(parent, state) {
        Ok(trace) => {
            let again = TraceContext::parse(&trace.traceparent(), trace.tracestate());
            assert_eq!(again.expect("a printed trace can be read"), trace, "the trace changed");
            assert!(trace.trace_id() != 0 && trace.parent_id() != 0, "zeros are no trace");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}"),
    }
}
