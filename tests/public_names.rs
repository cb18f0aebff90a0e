//! Every type that a public method returns can be named from `mamey`, so that a user can store it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use mamey::context::UnaddressedRequest;
use mamey::message::Catalog;
use mamey::store::{Schema, Store};
use mamey::transport::{Publisher, Topology};
use mamey::{
    BoundedContext, Command, CommandRequest, Context, ContextRuntime, Query, QueryRequest,
    ReadContext, Request, Resources, Result, RunningService, Service, Totals,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Command)]
struct Ring;

#[derive(Query, Serialize, Deserialize)]
#[query(name = "bells.count")]
struct Count;

async fn ring(_: Ring, _: &Context) -> Result<()> {
    Ok(())
}

async fn count(_: Count, _: &ReadContext) -> Result<()> {
    Ok(())
}

fn bells() -> BoundedContext {
    BoundedContext::new("bells").command(ring).query(count).serves::<Count>()
}

/// What a caller holds before it awaits.
struct Calls<'s> {
    send: CommandRequest<'s, Ring>,
    query: QueryRequest<'s, Count>,
    request: UnaddressedRequest<'s, Count>,
}

impl<'s> Calls<'s> {
    fn of(service: &'s RunningService) -> Self {
        Self {
            send: service.send(Ring),
            query: service.query(Count),
            request: asked(service, Count),
        }
    }
}

fn asked<R: Request>(service: &RunningService, request: R) -> UnaddressedRequest<'_, R> {
    service.request(request)
}

/// What a declaration says of itself.
struct Declared {
    catalog: Catalog,
    schema: Schema,
    topology: Topology,
}

#[tokio::test]
async fn what_methods_return_can_be_stored_in_a_struct_of_the_user() {
    let context = bells();
    let declared = Declared {
        catalog: context.catalog().clone(),
        schema: context.schema().unwrap(),
        topology: context.topology(1).unwrap(),
    };
    assert!(declared.catalog.to_string().contains("bells.count"));
    assert_eq!(declared.schema.context, declared.topology.context);

    let service = Service::in_memory().host(bells()).start().await.unwrap();
    let Calls { send, query, request } = Calls::of(&service);
    send.await.unwrap();
    query.await.unwrap();
    request.to("bells").await.unwrap();
    let totals: Totals = service.totals().await.unwrap();
    assert_eq!(totals.published, 0);

    let store: Arc<dyn Store> = service.store("bells").unwrap();
    let _publisher: Arc<dyn Publisher> = service.publisher();
    let runtime: Arc<ContextRuntime> = bells().open(Resources::new(store)).unwrap();
    runtime.send(Ring).await.unwrap();
    service.shutdown().await.unwrap();
}
