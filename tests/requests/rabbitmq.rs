//! Requests between two services over RabbitMQ.

use std::time::Duration;

use mamey::{BoundedContext, ErrorKind, RunningService, Service};
use mamey_test_support::{rabbitmq, require};

use crate::domain::{Fail, GetPrice, Order, Quote, Reserve, audit, catalog, orders};

async fn start(vhost: &rabbitmq::Vhost, contexts: Vec<BoundedContext>) -> RunningService {
    let service = Service::in_memory().transport_url(vhost.url());
    contexts.into_iter().fold(service, Service::host).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_send_each_other_requests() {
    let vhost = require!(rabbitmq::vhost().await);
    let answering = start(&vhost, vec![catalog()]).await;
    let asking = start(&vhost, vec![orders(), audit()]).await;
    assert_eq!(asking.query(Quote { sku: "tea".into() }).await.unwrap(), 420);
    assert_eq!(asking.send(Order { sku: "tea".into() }).await.unwrap(), 420);
    // The event's handler sent the request twice under one key; it took effect once.
    let audited = async {
        loop {
            let reserve = Reserve { sku: "audited-tea".into(), pieces: 0 };
            if asking.request(reserve).to("catalog").await.unwrap() == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), audited).await.unwrap();
    let error = asking.request(GetPrice { sku: "nothing".into() }).to("catalog").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("catalog.sold-out")));
    let failed = asking.request(Fail("conflict".into())).to("catalog").await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Conflict);
    let nobody = asking.request(GetPrice { sku: "tea".into() }).to("warehouse").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unroutable);
    answering.shutdown().await.unwrap();
    let gone = asking.request(GetPrice { sku: "tea".into() }).to("catalog").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Unroutable, "{gone}");
    asking.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_sends_requests_to_another_of_its_service_over_the_broker() {
    let vhost = require!(rabbitmq::vhost().await);
    let service = start(&vhost, vec![catalog(), orders()]).await;
    assert_eq!(service.query(Quote { sku: "tea".into() }).await.unwrap(), 420);
    let command = Reserve { sku: "tea".into(), pieces: 5 };
    for _ in 0..3 {
        let reserve = service.request(command.clone()).to("catalog").idempotency_key("cart-7");
        assert_eq!(reserve.await.unwrap(), 5);
    }
    service.shutdown().await.unwrap();
}
