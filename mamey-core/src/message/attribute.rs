//! The names of a message's attributes on the wire.
//!
//! Those that begin with `foreign` are headers: each keeps what came as an attribute and could not be
//! used as it was.
//!
//! How each is written and read, and how long it may be, is in the table of `codec/table.rs`.

/// The version of CloudEvents: [`SPEC_VERSION_1_0`], or another of `1.x` in what other systems send.
pub const SPEC_VERSION: &str = "specversion";
/// The version of CloudEvents that is written; of those that are read it is the first.
pub const SPEC_VERSION_1_0: &str = "1.0";
/// The message's id.
pub const ID: &str = "id";
/// The sender.
pub const SOURCE: &str = "source";
/// The message's name.
pub const TYPE: &str = "type";
/// The version of the payload's shape.
pub const MESSAGE_VERSION: &str = "messageversion";
/// The one context that the message is for; absent when it is for any.
pub const TARGET: &str = "target";
/// When it was sent.
pub const TIME: &str = "time";
/// The id that everything caused by one outside request shares.
pub const CORRELATION_ID: &str = "correlationid";
/// The message whose handler sent this one.
pub const CAUSATION_ID: &str = "causationid";
/// The key.
pub const PARTITION_KEY: &str = "partitionkey";
/// The tenant.
pub const TENANT: &str = "tenant";
/// The W3C trace and span.
pub const TRACEPARENT: &str = "traceparent";
/// The W3C state of the trace.
pub const TRACESTATE: &str = "tracestate";
/// The media type of the payload.
pub const DATA_CONTENT_TYPE: &str = "datacontenttype";
/// The payload as JSON.
pub const DATA: &str = "data";
/// The payload in Base64.
pub const DATA_BASE64: &str = "data_base64";

/// The header that keeps: an id that is no UUID in the form that we write.
pub const FOREIGN_ID: &str = "foreignid";
/// The header that keeps: a version of CloudEvents `1.x` that is not [`SPEC_VERSION_1_0`].
pub const FOREIGN_SPEC_VERSION: &str = "foreignspecversion";
/// The header that keeps: a source that is too long.
pub const FOREIGN_SOURCE: &str = "foreignsource";
/// The header that keeps: a version of the payload that is no number.
pub const FOREIGN_VERSION: &str = "foreignversion";
/// The header that keeps: a target that cannot be the name of a context.
pub const FOREIGN_TARGET: &str = "foreigntarget";
/// The header that keeps: a time that cannot be read, or is finer than a microsecond.
pub const FOREIGN_TIME: &str = "foreigntime";
/// The header that keeps: a correlation id that is too long.
pub const FOREIGN_CORRELATION_ID: &str = "foreigncorrelationid";
/// The header that keeps: a causation id that is too long.
pub const FOREIGN_CAUSATION_ID: &str = "foreigncausationid";
/// The header that keeps: a key that is too long.
pub const FOREIGN_KEY: &str = "foreignpartitionkey";
/// The header that keeps: a tenant that is too long.
pub const FOREIGN_TENANT: &str = "foreigntenant";
/// The header that keeps: a trace that cannot be read.
pub const FOREIGN_TRACEPARENT: &str = "foreigntraceparent";
/// The header that keeps: the state of a trace that cannot be used.
pub const FOREIGN_TRACESTATE: &str = "foreigntracestate";
/// The header that keeps: a media type that is too long.
pub const FOREIGN_CONTENT_TYPE: &str = "foreigncontenttype";

/// Attributes of CloudEvents that have no meaning here: kept as headers, and passed on.
pub const UNUSED: [&str; 2] = ["subject", "dataschema"];

/// Whether a name has a meaning of its own on the wire and cannot be a free header.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    is_attribute(name) || UNUSED.contains(&name)
}

/// Whether an attribute of this name is written from a field of the envelope.
pub(super) fn is_attribute(name: &str) -> bool {
    const OWN: [&str; 16] = [
        SPEC_VERSION,
        ID,
        SOURCE,
        TYPE,
        MESSAGE_VERSION,
        TARGET,
        TIME,
        CORRELATION_ID,
        CAUSATION_ID,
        PARTITION_KEY,
        TENANT,
        TRACEPARENT,
        TRACESTATE,
        DATA_CONTENT_TYPE,
        DATA,
        DATA_BASE64,
    ];
    OWN.contains(&name)
}
