//! Two databases, one context name, one broker: the first one has the context.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ErrorKind as Cause, ExchangeKind};
use mamey_core::ErrorKind;
use mamey_core::id::MessageId;
use mamey_core::message::{ContextName, Partition};
use mamey_core::store::StoreId;
use mamey_core::transport::{Owner, Routed, Settlement, Topology, Transport};
use mamey_test_support::{rabbitmq, require};

use crate::world::{Foreign, connect, event, next, subscribe, subscribe_to_all, topology};

const OURS: &str = "postgres://db-1.internal/shop";
const THEIRS: &str = "sqlite:/var/lib/shop/shop.db";

fn owner(id: u32, store: &str) -> Owner {
    let id: MessageId = format!("{id:08}-0000-4000-8000-{id:012}").parse().unwrap();
    Owner::new(StoreId::new(id.as_uuid()), store).with_durable(true)
}

fn owned(id: u32, store: &str) -> Topology {
    topology(1).with_owner(owner(id, store))
}

fn payments() -> ContextName {
    topology(1).context
}

#[tokio::test]
async fn another_database_is_refused_with_both_named() {
    let vhost = require!(rabbitmq::vhost().await);
    let (one, other) = (connect(vhost.url()).await, connect(vhost.url()).await);
    one.apply(&owned(1, OURS)).await.unwrap();
    let mut receiving = subscribe_to_all(&one).await;
    let more = owned(2, THEIRS).with_handles(vec!["orders.other"]);
    let error = other.apply(&more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    let text = error.to_string();
    let (ours, theirs) = (owner(2, THEIRS).to_string(), owner(1, OURS).to_string());
    for words in ["`payments`", &ours, &theirs, "delete_queue payments.owner"] {
        assert!(text.contains(words), "`{words}` is not in {text}");
    }
    // It was not applied, and what it alone handles is not bound.
    assert!(subscribe(&other, Partition::new(0, 1).unwrap(), 1).await.is_err());
    let mut unbound = event("order-1", "{}");
    unbound.metadata.name = "orders.other".into();
    assert_eq!(one.publisher().publish(&unbound).await.unwrap(), Routed::NoSubscriber);
    // The first goes on, and so do its other instances and what names no owner.
    let sent = event("order-1", "{}");
    assert_eq!(one.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
    let delivery = next(&mut receiving).await;
    assert_eq!(delivery.envelope(), &sent);
    delivery.settle(Settlement::Ack);
    for topology in [owned(1, OURS), topology(1)] {
        connect(vhost.url()).await.apply(&topology).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_was_renamed_is_the_same() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = connect(vhost.url()).await;
    let longest = ContextName::new(&"x".repeat(48)).unwrap();
    for context in [payments(), longest] {
        let owned = |id, store| Topology::new(context.clone(), 1).with_owner(owner(id, store));
        transport.apply(&owned(1, OURS)).await.unwrap();
        let long = format!("postgres://shop@{}/shop", "a.very.long.host.name".repeat(9));
        for moved in ["postgres://shop:***@db-2.internal/shop", &long] {
            transport.apply(&owned(1, moved)).await.unwrap();
            let error = transport.apply(&owned(2, moved)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
            assert!(error.to_string().contains("00000001-"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_context_moves_to_a_new_database_once_its_mark_is_removed() {
    let vhost = require!(rabbitmq::vhost().await);
    let (former, new) = (connect(vhost.url()).await, connect(vhost.url()).await);
    former.apply(&owned(1, OURS)).await.unwrap();
    let sent = event("order-1", "{}");
    former.publisher().publish(&sent).await.unwrap();
    new.apply(&owned(2, THEIRS)).await.unwrap_err();
    new.forget_owner(&payments()).await.unwrap();
    new.apply(&owned(2, THEIRS)).await.unwrap();
    // What waits in the queues moves along.
    let mut receiving = subscribe_to_all(&new).await;
    assert_eq!(next(&mut receiving).await.envelope(), &sent);
    let error = former.apply(&owned(1, OURS)).await.unwrap_err();
    assert!(error.to_string().contains(THEIRS), "{error}");
    // Without a mark there is nothing to remove.
    new.forget_owner(&ContextName::new("kitchen").unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_store_in_memory_leaves_no_mark_and_takes_no_context_that_has_one() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = connect(vhost.url()).await;
    let in_memory = |id| topology(1).with_owner(owner(id, "memory:").with_durable(false));
    transport.apply(&in_memory(1)).await.unwrap();
    transport.apply(&in_memory(2)).await.unwrap();
    transport.apply(&owned(3, OURS)).await.unwrap();
    let error = transport.apply(&in_memory(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains(OURS) && error.to_string().contains("memory:"), "{error}");
}

#[tokio::test]
async fn a_queue_that_was_not_made_as_a_mark_is_named() {
    let vhost = require!(rabbitmq::vhost().await);
    let foreign = Foreign::connect(vhost.url()).await;
    let options = QueueDeclareOptions::durable();
    let made =
        foreign.channel.queue_declare("payments.owner".into(), options, FieldTable::default());
    made.await.unwrap();
    let error = connect(vhost.url()).await.apply(&owned(1, OURS)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("queue `payments.owner`"), "{error}");
}

/// How the broker is asked who has a context: it answers with the owner before it looks at the other
/// argument, for which it would make no queue.
#[tokio::test]
async fn a_question_without_an_answer_makes_no_queue() {
    let vhost = require!(rabbitmq::vhost().await);
    let foreign = Foreign::connect(vhost.url()).await;
    let mut asked = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", "payments.dead"),
        ("x-dead-letter-routing-key", "?"),
        ("x-queue-leader-locator", "none"),
    ] {
        asked.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let options = QueueDeclareOptions::durable();
    let refused = foreign.channel.queue_declare("payments.owner".into(), options, asked).await;
    assert!(refused.unwrap_err().to_string().contains("x-queue-leader-locator"));
    let foreign = Foreign::connect(vhost.url()).await;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let none = FieldTable::default();
    let found = foreign.channel.queue_declare("payments.owner".into(), passive, none).await;
    assert!(
        matches!(found.unwrap_err().kind(), Cause::ProtocolError(error) if error.get_id() == 404)
    );
}

#[tokio::test]
async fn the_mark_is_the_first_thing_that_is_declared() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = connect(vhost.url()).await;
    let plan = transport.plan(&owned(1, OURS)).unwrap().to_string();
    let mark = "queue payments.owner durable x-queue-type=quorum \
                x-dead-letter-exchange=payments.dead x-dead-letter-routing-key=";
    assert!(plan.starts_with(&format!("{mark}{}\nexchange mamey", owner(1, OURS))), "{plan}");
    assert!(!transport.plan(&topology(1)).unwrap().to_string().contains("owner"));
    // Nothing of a context that is refused is made, not even the exchange that all share.
    transport.apply(&Topology::new(payments(), 1).with_owner(owner(1, OURS))).await.unwrap();
    let foreign = Foreign::connect(vhost.url()).await;
    foreign.channel.exchange_delete("mamey".into(), Default::default()).await.unwrap();
    transport.apply(&owned(2, THEIRS)).await.unwrap_err();
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    let found =
        foreign.channel.exchange_declare("mamey".into(), ExchangeKind::Topic, passive, none).await;
    assert!(
        matches!(found.unwrap_err().kind(), Cause::ProtocolError(error) if error.get_id() == 404)
    );
}
