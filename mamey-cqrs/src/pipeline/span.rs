//! Step 1: traces a call by OpenTelemetry's conventions for messaging, and catches its panics.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};

use futures_util::FutureExt;
use mamey_core::{Error, ErrorKind, Result};
use tracing::{Instrument, Span, field};

use super::layer::{Invocation, InvocationKind};

/// Runs the call within its span. A panic becomes an error, and an error says what was handled.
pub(super) async fn around<T>(
    invocation: &Invocation<'_>,
    call: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let mut call = pin!(AssertUnwindSafe(call).catch_unwind().instrument(span(invocation)));
    let caught = call.as_mut().await;
    let result = caught.unwrap_or_else(|panic| Err(panicked(invocation.name, &*panic)));
    result.map_err(|error| {
        record(call.span(), &error);
        let (name, context) = (invocation.name, invocation.context);
        error.with_context(format!("handling `{name}` in context `{context}`"))
    })
}

/// The span of one call. Without a subscriber it is the empty span, and no field is evaluated.
fn span(invocation: &Invocation<'_>) -> Span {
    let Invocation { kind, name, context, cause, metadata, attempt } = *invocation;
    let operation = kind.operation();
    tracing::info_span!(
        "handle",
        otel.name = %format_args!("{operation} {name}"),
        otel.kind = kind.span_kind(metadata.is_some()),
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
        error.type = field::Empty,
        messaging.operation.name = operation,
        messaging.operation.type = matches!(kind, InvocationKind::Message).then_some("process"),
        messaging.destination.name = metadata.map(|_| name),
        messaging.message.id = cause.message_id.map(field::display),
        messaging.message.conversation_id = cause.correlation_id.as_ref().map(field::display),
        messaging.consumer.group.name = %context,
        mamey.message.identity = cause.identity.map(field::display),
        mamey.sender = metadata.map(|metadata| &*metadata.sender),
        mamey.key = metadata.and_then(|metadata| metadata.key.as_ref()).map(field::display),
        mamey.tenant = cause.tenant.as_deref(),
        mamey.attempt = attempt,
        trace_id = cause.trace.as_ref().map(|trace| field::display(TraceId(trace.trace_id()))),
    )
}

/// Records on the span that the call failed, and how.
fn record(span: &Span, error: &Error) {
    if span.is_disabled() {
        return;
    }
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", field::display(error));
    span.record("error.type", error.code().unwrap_or(error.kind().as_str()));
}

fn panicked(message: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    Error::new(ErrorKind::Other, format!("handler of `{message}` panicked: {text}"))
}

/// Displays as the 32 digits of W3C trace context.
struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl InvocationKind {
    const fn operation(self) -> &'static str {
        match self {
            Self::Command | Self::Query => "handle",
            Self::Message => "process",
        }
    }

    const fn span_kind(self, is_remote: bool) -> &'static str {
        match self {
            Self::Command | Self::Query if is_remote => "server",
            Self::Command | Self::Query => "internal",
            Self::Message => "consumer",
        }
    }
}
