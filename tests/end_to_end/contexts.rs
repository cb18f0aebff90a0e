//! What travels with a message over two hops: ids, tenant, trace context, headers.

use std::sync::{Arc, Mutex};

use mamey::context::Cause;
use mamey::message::{CorrelationId, Headers, Metadata, TraceContext};
use mamey::{
    BoundedContext, Command, Context, Event, Invocation, Layer, MessageId, Next, Result,
    RunningService, Service, Uuid, async_trait,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::world::PATIENCE;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Clone, Command)]
#[command(reply = MessageId)]
struct Begin;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "first.begun", key = key)]
struct Begun {
    key: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "second.continued", key = key)]
struct Continued {
    key: String,
}

/// The first context. It replies with the id of its own command.
async fn begin(_: Begin, cx: &Context) -> Result<MessageId> {
    let mut headers = Headers::default();
    headers.insert("region", "eu-1")?;
    headers.insert("note", "ünï ✓ \"quoted\"")?;
    cx.publish_with_headers(&Begun { key: "k".into() }, headers)?;
    Ok(cx.message_id())
}

async fn go_on(event: Begun, cx: &Context) -> Result<()> {
    cx.publish(&Continued { key: event.key })
}

async fn end(_: Continued, _: &Context) -> Result<()> {
    Ok(())
}

/// Records the cause of each handler call, and the metadata of its message.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<(Cause, Metadata)>>>);

#[async_trait]
impl Layer for Witness {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        if let Some(metadata) = invocation.metadata {
            self.0.lock().unwrap().push((invocation.cause.clone(), metadata.clone()));
        }
        next.run(invocation).await
    }
}

/// The metadata of the two messages that one command causes.
struct Journey {
    command_id: MessageId,
    begun: Metadata,
    continued: Metadata,
}

async fn start(witness: &Witness) -> RunningService {
    let first = BoundedContext::new("first").command(begin).publishes::<Begun>();
    let second = BoundedContext::new("second").on(go_on).publishes::<Continued>();
    let third = BoundedContext::new("third").on(end);
    let service = Service::in_memory().host(first);
    let service = service.host(second.layer(witness.clone())).host(third.layer(witness.clone()));
    service.start().await.unwrap()
}

async fn travel(send: impl AsyncFnOnce(&RunningService) -> MessageId) -> Journey {
    let witness = Witness::default();
    let service = start(&witness).await;
    let command_id = send(&service).await;
    timeout(PATIENCE, service.wait_until_idle()).await.unwrap().unwrap();
    let seen = witness.0.lock().unwrap().clone();
    for (cause, metadata) in &seen {
        assert_eq!(cause.message_id, Some(metadata.id));
        assert_eq!(cause.correlation_id, Some(metadata.correlation_id.clone()));
        assert_eq!((&cause.trace, &cause.tenant), (&metadata.trace, &metadata.tenant));
    }
    let [(_, begun), (_, continued)] = <[_; 2]>::try_from(seen).expect("two messages");
    assert_eq!((&*begun.name, &*begun.sender), ("first.begun", "first"));
    assert_eq!((&*continued.name, &*continued.sender), ("second.continued", "second"));
    Journey { command_id, begun, continued }
}

#[tokio::test]
async fn correlation_stays_and_causation_follows_from_message_to_message() {
    let journey = travel(async |service| service.send(Begin).await.unwrap()).await;
    let Journey { command_id, begun, continued } = journey;
    assert_eq!(begun.causation_id, Some(command_id.into()));
    assert_eq!(continued.causation_id, Some(begun.id.into()));
    assert_eq!(begun.correlation_id, command_id, "a command without a given one starts it");
    assert_eq!(continued.correlation_id, command_id);
    assert!(command_id != begun.id && begun.id != continued.id && command_id != continued.id);
}

#[tokio::test]
async fn the_correlation_id_of_a_caller_is_kept() {
    let given = MessageId::from_uuid(Uuid::from_u128(7));
    let send =
        async |service: &RunningService| service.send(Begin).correlation_id(given).await.unwrap();
    let Journey { command_id, begun, continued } = travel(send).await;
    assert_ne!(command_id, given);
    assert_eq!((begun.correlation_id, continued.correlation_id), (given.into(), given.into()));
    assert_eq!(begun.causation_id, Some(command_id.into()));
}

#[tokio::test]
async fn the_correlation_id_of_another_system_is_kept() {
    let given: CorrelationId = "txn-abc-123".parse().unwrap();
    let send = async |service: &RunningService| {
        service.send(Begin).correlation_id(given.clone()).await.unwrap()
    };
    let Journey { begun, continued, .. } = travel(send).await;
    assert_eq!((begun.correlation_id, continued.correlation_id), (given.clone(), given));
}

#[tokio::test]
async fn the_trace_of_a_caller_continues_with_a_new_span_at_each_hop() {
    let given = TraceContext::parse(TRACEPARENT, Some("vendor=opaque")).unwrap();
    let send =
        async |service: &RunningService| service.send(Begin).trace(given.clone()).await.unwrap();
    let Journey { begun, continued, .. } = travel(send).await;
    let (first, second) = (begun.trace.unwrap(), continued.trace.unwrap());
    let spans = [given.parent_id(), first.parent_id(), second.parent_id()];
    for trace in [&first, &second] {
        assert_eq!(trace.trace_id(), given.trace_id());
        assert_eq!(trace.tracestate(), Some("vendor=opaque"));
        assert!(trace.is_sampled());
    }
    assert!(spans[0] != spans[1] && spans[1] != spans[2] && spans[0] != spans[2], "{spans:?}");
}

#[tokio::test]
async fn a_command_without_a_trace_starts_one() {
    let journey = travel(async |service| service.send(Begin).await.unwrap()).await;
    let (first, second) = (journey.begun.trace.unwrap(), journey.continued.trace.unwrap());
    assert_eq!(first.trace_id(), second.trace_id());
    assert_ne!(first.parent_id(), second.parent_id());
}

#[tokio::test]
async fn the_tenant_travels_on_and_headers_stay_with_their_message() {
    let send = async |service: &RunningService| service.send(Begin).tenant("acme").await.unwrap();
    let Journey { begun, continued, .. } = travel(send).await;
    assert_eq!(begun.tenant.as_deref(), Some("acme"));
    assert_eq!(continued.tenant.as_deref(), Some("acme"));
    let headers: Vec<_> = begun.headers.iter().collect();
    assert_eq!(headers, [("note", "ünï ✓ \"quoted\""), ("region", "eu-1")]);
    assert!(continued.headers.is_empty());
}
