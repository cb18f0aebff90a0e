//! Requests between the contexts of one process.

use std::time::Duration;

use mamey::{ErrorKind, MessageId, Retry, RunningService, Service};
use mamey_test_support::until;

use crate::domain::{
    Fail, GetPrice, Order, Quote, Reserve, Secret, SoldOut, audit, catalog, old, orders,
};

async fn start() -> RunningService {
    Service::in_memory().host(catalog()).host(orders()).host(audit()).start().await.unwrap()
}

fn price_of(sku: &str) -> GetPrice {
    GetPrice { sku: sku.to_owned() }
}

#[tokio::test]
async fn every_kind_of_handler_asks_and_so_does_the_service() {
    let service = start().await;
    assert_eq!(service.query(Quote { sku: "tea".into() }).await.unwrap(), 420);
    assert_eq!(service.send(Order { sku: "tea".into() }).await.unwrap(), 420);
    service.wait_until_idle().await.unwrap();
    // The event's handler sent the request twice under one key; it took effect once.
    let audited = Reserve { sku: "audited-tea".into(), pieces: 1 };
    assert_eq!(service.request(audited).to("catalog").await.unwrap(), 2);
    let correlation = MessageId::from_foreign("shop", "7");
    let price = service.request(price_of("tea")).to("catalog");
    let price = price.tenant("acme").correlation_id(correlation).await.unwrap();
    assert_eq!((price.cents, price.tenant.as_deref()), (420, Some("acme")));
    assert_eq!(price.correlation, correlation.to_string());
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rejection_keeps_its_code_and_names_the_context_that_answered() {
    let service = start().await;
    let error = service.request(price_of("nothing")).to("catalog").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Never));
    assert_eq!((error.code(), error.message()), (Some("catalog.sold-out"), "no `nothing` is left"));
    let text = error.to_string();
    assert!(text.contains("requesting `catalog.get-price` of context `catalog`"), "{text}");
    assert!(text.contains("context `catalog` answered: no `nothing` is left"), "{text}");
    // Only its code is known here: the domain's type belongs to the other context.
    assert!(error.rejection::<SoldOut>().is_none());
    // A handler that passes it on keeps it a rejection.
    let error = service.send(Order { sku: "nothing".into() }).await.unwrap_err();
    assert_eq!(error.code(), Some("catalog.sold-out"));
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn failures_keep_their_kind_and_retry_advice() {
    let service = start().await;
    let fail = async |how: &str| {
        let error = service.request(Fail(how.to_owned())).to("catalog").await.unwrap_err();
        (error.kind(), error.retry())
    };
    assert_eq!(fail("unavailable").await, (ErrorKind::Unavailable, Retry::Later));
    assert_eq!(fail("conflict").await, (ErrorKind::Conflict, Retry::Immediately));
    assert_eq!(fail("invalid").await, (ErrorKind::Invalid, Retry::Never));
    assert_eq!(fail("panic").await, (ErrorKind::Other, Retry::Later));
    service.request(Fail("not at all".into())).to("catalog").await.unwrap();
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_without_a_reply_times_out_and_its_late_reply_is_counted() {
    let service = start().await;
    let hang = service.request(Fail("hang".into())).to("catalog");
    let error = hang.timeout(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TimedOut, Retry::Later));
    let text = error.to_string();
    assert!(text.contains("`catalog.fail`") && text.contains("idempotency key"), "{text}");
    // The handler's own timeout ends it after two seconds; the request no longer waits then.
    let counted = async || service.totals().await.unwrap().late_replies > 0;
    until("the late reply is counted", Duration::from_secs(20), counted).await;
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_that_no_context_serves_is_unroutable_and_names_both() {
    let service = start().await;
    let nobody = service.request(price_of("tea")).to("warehouse").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unroutable);
    let text = nobody.to_string();
    assert!(text.contains("`catalog.get-price`") && text.contains("`warehouse`"), "{text}");
    let unserved = service.request(Secret).to("catalog").await.unwrap_err();
    assert_eq!(unserved.kind(), ErrorKind::Unroutable);
    let text = unserved.to_string();
    assert!(text.contains("`catalog.secret`") && text.contains(".serves::<"), "{text}");
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_invalid() {
    let service = start().await;
    let sku = "tea".to_owned();
    let reply = service.request(old::GetPrice { sku }).to("catalog").await.unwrap_err();
    assert_eq!((reply.kind(), reply.retry()), (ErrorKind::Invalid, Retry::Later));
    assert!(reply.to_string().contains("version 1 of `catalog.get-price`"), "{reply}");
    let request = service.request(old::Unfit { item: 7 }).to("catalog").await.unwrap_err();
    assert_eq!((request.kind(), request.retry()), (ErrorKind::Invalid, Retry::Later));
    assert!(request.to_string().contains("sku"), "{request}");
    assert!(!request.is_final_for_messages() && !reply.is_final_for_messages());
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn targets_timeouts_and_keys_are_checked() {
    let service = start().await;
    let bad = service.request(price_of("tea")).to("No Context").await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Invalid);
    for timeout in [Duration::ZERO, Duration::from_secs(61), Duration::MAX] {
        let request = service.request(price_of("tea")).to("catalog").timeout(timeout);
        let error = request.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains("from 1ms to 60s"), "{error}");
    }
    for key in ["", "a\nb", &"x".repeat(256)] {
        let request = service.request(Reserve { sku: "tea".into(), pieces: 1 }).to("catalog");
        let error = request.idempotency_key(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let large = price_of(&"x".repeat(mamey::message::PAYLOAD_BYTES_MAX));
    let error = service.request(large).to("catalog").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_command_that_is_repeated_under_its_key_takes_effect_once() {
    let service = start().await;
    let reserve = |pieces| service.request(Reserve { sku: "tea".into(), pieces }).to("catalog");
    for _ in 0..3 {
        assert_eq!(reserve(5).idempotency_key("cart-7").await.unwrap(), 5);
    }
    assert_eq!(reserve(2).idempotency_key("cart-8").await.unwrap(), 7);
    // A local caller shares the keys.
    let local = service.send(Reserve { sku: "tea".into(), pieces: 5 }).idempotency_key("cart-7");
    assert_eq!(local.await.unwrap(), 5);
    let error = reserve(6).idempotency_key("cart-7").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IdempotencyKeyReused, Retry::Never));
    let text = error.to_string();
    assert!(text.contains("`catalog.reserve`") && text.contains("use a new key"), "{text}");
    // Another tenant's key is another key, and nothing was reserved by the refused request.
    assert_eq!(reserve(6).tenant("acme").idempotency_key("cart-7").await.unwrap(), 13);
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_service_that_drains_answers_the_requests_it_has_accepted() {
    let service = start().await;
    let hang = service.request(Fail("hang".into())).to("catalog");
    let asked = tokio::spawn({
        let service = service.clone();
        async move { service.request(price_of("tea")).to("catalog").await }
    });
    assert_eq!(asked.await.unwrap().unwrap().cents, 420);
    let (asked, ended) = tokio::join!(hang, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        service.shutdown().await
    });
    // The handler's own timeout ends it: its answer arrives before the service is down.
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::TimedOut);
    ended.unwrap();
    let error = service.request(price_of("tea")).to("catalog").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
