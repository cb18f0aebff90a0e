//! `validate` on messages: garde checks them before their handler runs.

#![cfg(feature = "validation")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use garde::Validate;
use mamey::{BoundedContext, Command, Context, ErrorKind, Query, ReadContext, Result, Service};

#[derive(Clone, Command, Validate)]
#[command(reply = String, validate)]
struct Register {
    #[garde(length(min = 3))]
    name: String,
    #[garde(range(min = 18))]
    age: u8,
}

#[derive(Query, Validate)]
#[query(reply = u8, validate)]
struct Youngest(#[garde(range(min = 18))] u8);

async fn register(command: Register, _: &Context) -> Result<String> {
    Ok(command.name)
}

async fn youngest(query: Youngest, _: &ReadContext) -> Result<u8> {
    Ok(query.0)
}

#[tokio::test]
async fn an_invalid_message_is_refused_with_each_field_named() {
    let people = BoundedContext::new("people").command(register).query(youngest);
    let service = Service::in_memory().host(people).start().await.unwrap();

    let valid = Register { name: "Ana".into(), age: 18 };
    assert_eq!(service.send(valid).await.unwrap(), "Ana");

    let error = service.send(Register { name: "A".into(), age: 3 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("name") && text.contains("age") && text.contains("register"), "{text}");

    assert_eq!(service.query(Youngest(21)).await.unwrap(), 21);
    assert_eq!(service.query(Youngest(3)).await.unwrap_err().kind(), ErrorKind::Invalid);
    service.shutdown().await.unwrap();
}
