//! Replies on the wire: the other context's answer, or the reason why there is none.
//!
//! The reply to the request `catalog.get-price` is an envelope named `catalog.get-price.reply`
//! whose payload is the handler's answer, or one named `catalog.get-price.error` whose payload is
//! `{"kind", "retry", "code", "message"}`, with `code` only for rejections. Its sender is the context
//! that answered, its target the one that asked; it carries the request's version, tenant, trace
//! and correlation id, and the request's own id as its causation id.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::check_payload;
use super::{ContextName, Envelope, Metadata, Target};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::{Error, ErrorKind, Result, Retry};

/// The longest error text in a reply, in bytes; the rest is cut off.
pub const REPLY_ERROR_BYTES_MAX: usize = 8 * 1024;

const REPLY: &str = ".reply";
const ERROR: &str = ".error";

/// Why there is no answer, as it is sent.
#[derive(Serialize, Deserialize)]
struct Failure<'a> {
    kind: Cow<'a, str>,
    retry: Retry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
}

impl Envelope {
    /// The reply of context `from` to this request. An answer that is too large becomes an error.
    #[must_use]
    pub fn reply(
        &self,
        from: &ContextName,
        id: MessageId,
        time: Timestamp,
        outcome: Result<Bytes>,
    ) -> Self {
        let outcome = outcome.and_then(|payload| check_payload(payload.len()).map(|()| payload));
        let (ending, payload) = match outcome {
            Ok(payload) => (REPLY, payload),
            Err(error) => (ERROR, write_failure(&error)),
        };
        let request = &self.metadata;
        let asked_by = ContextName::new(&request.sender);
        let metadata = Metadata {
            version: request.version,
            target: asked_by.map_or(Target::Any, Target::Service),
            correlation_id: request.correlation_id.clone(),
            causation_id: Some(request.id_as_sent()),
            time,
            tenant: request.tenant.clone(),
            trace: request.trace.clone(),
            ..Metadata::new(id, format!("{}{ending}", request.name), from.as_str())
        };
        Self { metadata, payload }
    }

    /// Reads this envelope as the reply to `request`, and returns the answer's JSON.
    ///
    /// # Errors
    /// The other context's error. `Cancelled`, `LeaseLost` and `Unreadable` become `Unavailable`: they
    /// are about the other process, not this one. `Invalid` when this envelope is not a reply to `request`.
    pub fn into_answer(self, request: &Metadata) -> Result<Bytes> {
        self.check_correlation(request)?;
        let from = self.metadata.sender.clone();
        let ending = self.metadata.name.strip_prefix(&*request.name);
        let outcome = match ending {
            Some(REPLY) => Ok(self.payload),
            Some(ERROR) => Err(Failure::read(&self.payload)),
            _ => Err(Error::invalid(format!(
                "`{:.64}` is not a reply to `{}`",
                self.metadata.name, request.name
            ))),
        };
        outcome.map_err(|error| error.with_context(format!("context `{from:.48}` answered")))
    }

    fn check_correlation(&self, request: &Metadata) -> Result<()> {
        let reply = &self.metadata;
        let ours = reply.causation_id.as_ref() == Some(&request.id_as_sent())
            && reply.correlation_id == request.correlation_id;
        if ours {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`{:.64}` was sent as a reply to `{}` but belongs to another request: its `causationid` \
             must be the request's id, and its `correlationid` the request's",
            reply.name, request.name
        )))
    }
}

/// A rejection's text is for people and is sent alone; other errors also say what was being done.
fn write_failure(error: &Error) -> Bytes {
    let message = match error.kind() {
        ErrorKind::Rejected => Cow::Borrowed(error.message()),
        _ => Cow::Owned(error.to_string()),
    };
    let failure = Failure {
        kind: error.kind().as_str().into(),
        retry: error.retry(),
        code: error.code().map(Cow::Borrowed),
        message: Cow::Borrowed(start(&message)),
    };
    // It consists of text only, so writing it cannot fail.
    serde_json::to_vec(&failure).unwrap_or_default().into()
}

impl<'a> Failure<'a> {
    fn read(payload: &'a [u8]) -> Error {
        match serde_json::from_slice::<Self>(payload) {
            Ok(failure) => failure.into_error(),
            Err(cause) => {
                Error::invalid(format!("the reply is an error that cannot be read: {cause}"))
            }
        }
    }

    fn into_error(self) -> Error {
        let message = start(&self.message).to_owned();
        let kind = match ErrorKind::from_name(&self.kind) {
            Some(ErrorKind::Rejected) => {
                let code = start(self.code.as_deref().unwrap_or_default()).to_owned();
                return Error::rejected(code, message);
            }
            Some(ErrorKind::Cancelled | ErrorKind::LeaseLost | ErrorKind::Unreadable) => {
                ErrorKind::Unavailable
            }
            Some(kind) => kind,
            // The other context may run a newer build with more kinds.
            None => ErrorKind::Other,
        };
        let error = Error::new(kind, message);
        // The usual advice is sent, too, and is no decision about the messages of this context.
        if error.retry() == self.retry { error } else { error.with_retry(self.retry) }
    }
}

fn start(text: &str) -> &str {
    let end = text.floor_char_boundary(REPLY_ERROR_BYTES_MAX);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{IdSource, SequentialIds};
    use crate::message::{CloudEventsJson, Codec, PAYLOAD_BYTES_MAX, TraceContext};

    fn request() -> Envelope {
        let ids = SequentialIds::default();
        let mut metadata = Metadata::new(ids.message_id(), "catalog.get-price", "orders");
        metadata.correlation_id = ids.message_id().into();
        metadata.target = Target::Service(catalog());
        metadata.tenant = Some("acme".into());
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        metadata.trace = Some(TraceContext::parse(parent, None).unwrap());
        Envelope { metadata, payload: Bytes::from_static(br#"{"sku":"tea"}"#) }
    }

    fn catalog() -> ContextName {
        ContextName::new("catalog").unwrap()
    }

    fn reply(outcome: Result<Bytes>) -> Envelope {
        let ids = SequentialIds::default();
        let time = Timestamp::from_micros(1_767_225_600_000_000);
        let _taken_by_the_request = (ids.message_id(), ids.message_id());
        request().reply(&catalog(), ids.message_id(), time, outcome)
    }

    fn wire(envelope: &Envelope) -> String {
        let wire = CloudEventsJson::default().encode(envelope).unwrap();
        String::from_utf8(wire.body.to_vec()).unwrap()
    }

    #[test]
    fn an_answer_is_part_of_the_wire_contract() {
        let answered = reply(Ok(Bytes::from_static(br#"{"cents":420}"#)));
        let expected = concat!(
            r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000003","#,
            r#""source":"catalog","type":"catalog.get-price.reply","messageversion":1,"#,
            r#""target":"orders","time":"2026-01-01T00:00:00.000000Z","#,
            r#""correlationid":"00000000-0000-0000-0000-000000000002","#,
            r#""causationid":"00000000-0000-0000-0000-000000000001","tenant":"acme","#,
            r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#,
            r#""datacontenttype":"application/json","data":{"cents":420}}"#,
        );
        assert_eq!(wire(&answered), expected);
        let answer = answered.into_answer(&request().metadata).unwrap();
        assert_eq!(&answer[..], br#"{"cents":420}"#);
    }

    #[test]
    fn an_error_is_part_of_the_wire_contract() {
        let refused = reply(Err(Error::rejected("catalog.sold-out", "no tea is left")));
        assert_eq!(refused.metadata.name, "catalog.get-price.error");
        let payload = r#"{"kind":"rejected","retry":"never","code":"catalog.sold-out","#;
        let payload = format!(r#"{payload}"message":"no tea is left"}}"#);
        assert_eq!(refused.payload, payload);
        let failed = reply(Err(Error::unavailable("refused").with_context("loading items/tea")));
        let payload =
            r#"{"kind":"unavailable","retry":"later","message":"loading items/tea: refused"}"#;
        assert_eq!(failed.payload, payload);
    }

    #[test]
    fn every_kind_is_read_as_itself_with_its_retry_advice() {
        let read = |error| reply(Err(error)).into_answer(&request().metadata).unwrap_err();
        let refused = read(Error::rejected("catalog.sold-out", "no tea is left"));
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert_eq!((refused.code(), refused.retry()), (Some("catalog.sold-out"), Retry::Never));
        assert_eq!(refused.to_string(), "context `catalog` answered: no tea is left");
        for kind in ErrorKind::ALL.into_iter().filter(|kind| *kind != ErrorKind::Rejected) {
            let elsewhere =
                matches!(kind, ErrorKind::Cancelled | ErrorKind::LeaseLost | ErrorKind::Unreadable);
            let expected = if elsewhere { ErrorKind::Unavailable } else { kind };
            for retry in [Retry::Never, Retry::Immediately, Retry::Later] {
                let error = read(Error::new(kind, "why").with_retry(retry));
                assert_eq!((error.kind(), error.retry()), (expected, retry));
            }
            let usual = read(Error::new(kind, "why"));
            let is_final = kind == ErrorKind::Invalid;
            assert_eq!(usual.is_final_for_messages(), is_final, "{kind}");
        }
    }

    #[test]
    fn what_is_not_a_reply_to_this_request_is_invalid() {
        let request = request().metadata;
        let good = || reply(Ok(Bytes::from_static(b"1")));
        let spoil: [fn(&mut Metadata); 4] = [
            |reply| reply.causation_id = None,
            |reply| reply.causation_id = Some(reply.id.into()),
            |reply| reply.correlation_id = reply.id.into(),
            |reply| reply.name = "catalog.get-stock.reply".into(),
        ];
        for spoil in spoil {
            let mut bad = good();
            spoil(&mut bad.metadata);
            assert_eq!(bad.into_answer(&request).unwrap_err().kind(), ErrorKind::Invalid);
        }
        let mut failed = reply(Err(Error::not_found("none")));
        failed.payload = Bytes::from_static(b"{}");
        assert_eq!(failed.into_answer(&request).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(good().into_answer(&request).is_ok());
    }

    #[test]
    fn a_kind_of_a_newer_build_is_read_as_other() {
        let mut failed = reply(Err(Error::not_found("none")));
        failed.payload = Bytes::from_static(br#"{"kind":"new","retry":"later","message":"m"}"#);
        let error = failed.into_answer(&request().metadata).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Other, Retry::Later));
    }

    #[test]
    fn what_is_too_large_is_not_sent() {
        let large = reply(Ok(Bytes::from(vec![b'1'; PAYLOAD_BYTES_MAX + 1])));
        let error = large.into_answer(&request().metadata).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
        let long = reply(Err(Error::other("é".repeat(REPLY_ERROR_BYTES_MAX))));
        let error = long.into_answer(&request().metadata).unwrap_err();
        assert_eq!(error.message().len(), REPLY_ERROR_BYTES_MAX);
    }
}
