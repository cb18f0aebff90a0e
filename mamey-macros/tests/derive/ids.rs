//! Typed ids and indexed values.

use std::collections::HashSet;

use mamey_core::ErrorKind;
use mamey_core::criteria::{IndexValue as _, Value, ValueType};
use mamey_core::domain::NewId;
use mamey_macros::{Id, IndexValue};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
#[id(crate = crate::facade)]
struct OrderId(Uuid);

#[derive(Clone, Debug, PartialEq, Eq, Id)]
#[id(crate = crate::facade)]
struct Sku(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Id)]
#[id(crate = crate::facade)]
struct Number(i64);

#[derive(Clone, IndexValue)]
#[index_value(crate = crate::facade)]
struct Cents(i64);

#[derive(Clone, IndexValue)]
#[index_value(crate = crate::facade)]
enum Status {
    Open,
    HTTPError,
    #[index_value(name = "Gone For Good")]
    Closed,
}

#[test]
fn ids_over_uuids_are_new_each_time_and_of_version_7() {
    let ids: HashSet<OrderId> = (0..100).map(|_| OrderId::new()).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.as_inner().get_version_num() == 7));
    let uuid = Uuid::from_u128(5);
    assert_eq!(OrderId::from_new_uuid(uuid), OrderId::from(uuid));
}

#[test]
fn ids_print_and_parse_as_what_they_wrap() {
    let text = "0190f5d6-0000-7000-8000-000000000001";
    let id: OrderId = text.parse().unwrap();
    assert_eq!(id.to_string(), text);
    assert_eq!("rice".parse::<Sku>().unwrap(), Sku::from("rice"));
    assert_eq!("-4".parse::<Number>().unwrap(), Number::from(-4));
    assert_eq!(format!("{:>6}|{:>4}", Sku::from("rice"), Number(-4)), "  rice|  -4");
}

#[test]
fn text_that_is_not_an_id_is_invalid_and_only_its_beginning_is_repeated() {
    let error = "x".repeat(10_000).parse::<OrderId>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("is not a `OrderId`"), "{error}");
    assert!(error.message().len() < 300, "{error}");
    assert!("4.5".parse::<Number>().is_err());
}

#[test]
fn ids_serialize_as_what_they_wrap() {
    let id = OrderId::from(Uuid::from_u128(1));
    let json = serde_json::to_string(&(id, Sku::from("rice"), Number(4))).unwrap();
    assert_eq!(json, r#"["00000000-0000-0000-0000-000000000001","rice",4]"#);
    let read: (OrderId, Sku, Number) = serde_json::from_str(&json).unwrap();
    assert_eq!(read, (id, Sku::from("rice"), Number(4)));
    assert!(serde_json::from_str::<OrderId>("\"rice\"").is_err());
}

#[test]
fn ids_and_newtypes_are_stored_as_what_they_wrap() {
    let uuid = Uuid::from_u128(9);
    assert_eq!(OrderId::from(uuid).to_value(), Value::Uuid(uuid));
    assert_eq!(Sku::from("rice").to_value(), Value::Text("rice".to_owned()));
    assert_eq!(Number(4).to_value(), Value::Int(4));
    assert_eq!(Cents(250).to_value(), Value::Int(250));
    let types = [OrderId::TYPE, Sku::TYPE, Number::TYPE, Cents::TYPE, Status::TYPE];
    let (uuid, text, int) = (ValueType::Uuid, ValueType::Text, ValueType::Int);
    assert_eq!(types, [uuid, text, int, int, text]);
}

#[test]
fn variants_are_stored_by_their_names() {
    let stored = [Status::Open, Status::HTTPError, Status::Closed].map(|status| status.to_value());
    let names = ["open", "http-error", "Gone For Good"].map(|name| Value::Text(name.to_owned()));
    assert_eq!(stored, names);
}
