//! The span of one call, named by the OpenTelemetry conventions for messaging.

use mamey_core::Error;
use tracing::{Span, field};

use crate::pipeline::layer::{Invocation, InvocationKind};

/// The span of one call. Without a subscriber it is the empty span, and no field is evaluated.
pub(crate) fn span(invocation: &Invocation<'_>) -> Span {
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
        messaging.message.conversation_id = cause.correlation_id.map(field::display),
        messaging.consumer.group.name = %context,
        mamey.sender = metadata.map(|metadata| &*metadata.sender),
        mamey.key = metadata.and_then(|metadata| metadata.key.as_ref()).map(field::display),
        mamey.tenant = cause.tenant.as_deref(),
        mamey.attempt = attempt,
        trace_id = cause.trace.as_ref().map(|trace| field::display(TraceId(trace.trace_id()))),
    )
}

/// Notes on the span that the call failed, and how.
pub(crate) fn failed(span: &Span, error: &Error) {
    if span.is_disabled() {
        return;
    }
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", field::display(error));
    span.record("error.type", error.code().unwrap_or(error.kind().as_str()));
}

/// Prints as the 32 digits of W3C trace context.
struct TraceId(u128);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
