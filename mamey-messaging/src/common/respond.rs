//! Answers requests: each gets a reply, also when its responder panics.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::id::{MessageId, new_uuid};
use mamey_core::message::{ContextName, Envelope, Metadata};
use mamey_core::transport::Responder;
use mamey_core::{Error, ErrorKind};

/// Answers a request; a panic of the responder becomes an error reply.
pub(crate) async fn respond(
    responder: &dyn Responder,
    context: &ContextName,
    request: Envelope,
) -> Envelope {
    let metadata = request.metadata.clone();
    let answer = AssertUnwindSafe(async { responder.respond(request).await });
    match answer.catch_unwind().await {
        Ok(reply) => reply,
        Err(_) => {
            let error = Error::new(ErrorKind::Other, "the responder panicked");
            error_reply(&metadata, context, error)
        }
    }
}

/// The reply of the transport itself, where the context cannot reply.
pub(crate) fn error_reply(request: &Metadata, from: &ContextName, error: Error) -> Envelope {
    let request = Envelope::new(request.clone(), bytes::Bytes::new());
    let id = MessageId::from_uuid(new_uuid());
    request.reply(from, id, SystemClock.now(), Err(error))
}
