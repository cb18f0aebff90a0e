//! The limit that a transport declares for a message.

use bytes::Bytes;
use mamey_core::{ErrorKind, Retry};

use super::fixture::{PLACED, apply, event, publish_and, subscribe, take};
use super::harness::TransportHarness;
use crate::report::report;

/// A larger limit is not tried: the case would be about the memory of the machine.
const TRIED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A message over the limit is refused for good, and the next one gets through.
pub async fn messages_over_the_limit_are_refused(harness: TransportHarness) {
    let transport = &*harness.transport;
    let capabilities = transport.capabilities();
    let limit = capabilities.message_bytes_max;
    if limit > TRIED_BYTES_MAX {
        let line = format!("messages_over_the_limit_are_refused: did not try {limit} bytes");
        return report(capabilities.name, &line);
    }
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let mut large = event(Some("order-1"));
    large.metadata.content_type = "application/octet-stream".into();
    large.payload = Bytes::from(vec![b'x'; limit + 1]);
    let error = transport.publisher().publish(&large).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
    assert!(error.to_string().contains(&limit.to_string()), "{error}");
    let sent = event(Some("order-1"));
    assert_eq!(publish_and(transport, &sent, take(&mut payments)).await, sent);
}
