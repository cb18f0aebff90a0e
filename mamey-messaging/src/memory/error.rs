//! The errors of the in-process transport.

use mamey_core::Error;
use mamey_core::message::{ContextName, Metadata, Target};
use mamey_core::transport::Owner;

/// The transport was closed.
pub(super) fn closed() -> Error {
    Error::unavailable("the in-process transport is closed")
}

/// A context that another store owns.
pub(super) fn owned_by_another(context: &ContextName, ours: &Owner, owner: &Owner) -> Error {
    Error::misconfigured(format!(
        "context `{context}` belongs to another database: ours is `{ours}`, its owner is `{owner}`. \
         Two would share its messages, each handling a part of them. Use the owner's database, \
         another name for the context or a transport of its own; a context that has moved to this \
         database needs a new transport"
    ))
}

/// A message for a context that does not handle it.
pub(super) fn unhandled(name: &str, context: &ContextName) -> Error {
    Error::unroutable(format!(
        "`{name}` for context `{context}` has no route: `{context}` is hosted here but does not \
         handle it; register a handler for it there, or fix the target"
    ))
}

/// A message that must be routed, but has nowhere to go in this process.
pub(super) fn unrouted(metadata: &Metadata) -> Error {
    let name = &metadata.name;
    Error::unroutable(match &metadata.target {
        Target::Service(target) => format!(
            "`{name}` for context `{target}` has no route: no such context is hosted in this \
             process; host it here, fix the target, or use a transport that reaches other processes"
        ),
        Target::Any => format!(
            "`{name}` must be routed, but no context of this process handles it: host one that \
             does, or drop `must_route`"
        ),
    })
}

/// A message that a context has rejected: its store can never keep it.
pub(super) fn rejected(metadata: &Metadata, context: &ContextName, reason: &str) -> Error {
    Error::unavailable(format!(
        "`{}` was rejected by context `{context}` and stays in its sender's outbox until it is \
         replayed or discarded: {reason}",
        metadata.name
    ))
}

/// A replay into a queue that has no place.
pub(super) fn full(context: &ContextName) -> Error {
    Error::unavailable(format!(
        "the queue of context `{context}` has no place for a message that is replayed; try again later"
    ))
}

/// A request to a context that serves none here.
pub(super) fn unserved(name: &str, context: &ContextName) -> Error {
    Error::unroutable(format!(
        "`{name:.64}` has no route: no context `{context}` serves requests in this process; host \
         it here with `.serves::<…>()`, fix the target, or use a transport that reaches other \
         processes"
    ))
}
