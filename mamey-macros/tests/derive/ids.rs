//! Typed ids and indexed values.

use std::collections::HashSet;

use mamey_core::ErrorKind;
use mamey_core::criteria::{IndexValue as _, Value, ValueType};
use mamey_core::domain::NewId;
use mamey_macros::{Id, IndexValue};
use serde::{Deserialize, Serialize};
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

#[derive(Clone, Serialize, Deserialize, IndexValue)]
#[index_value(crate = crate::facade)]
enum Status {
    Open,
    HTTPError,
    #[serde(rename = "Gone For Good")]
    Closed,
    r#Type,
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

fn assert_written<T: mamey_core::criteria::IndexValue + Serialize>(
    values: impl IntoIterator<Item = T>,
) {
    for value in values {
        let written = serde_json::to_value(&value).unwrap();
        assert_eq!(value.to_value(), Value::Text(written.as_str().unwrap().to_owned()));
    }
}

#[test]
fn variants_are_indexed_under_the_names_that_serde_writes() {
    let all = [Status::Open, Status::HTTPError, Status::Closed, Status::r#Type];
    let names = all.clone().map(|status| status.to_value());
    let expected = ["Open", "HTTPError", "Gone For Good", "Type"];
    assert_eq!(names, expected.map(|name| Value::Text(name.to_owned())));
    assert_written(all);
}

macro_rules! renamed {
    ($($module:ident, $rule:literal;)*) => {$(
        mod $module {
            use super::*;

            #[derive(Clone, Serialize, Deserialize, IndexValue)]
            #[index_value(crate = crate::facade)]
            #[serde(rename_all = $rule)]
            enum Renamed {
                Open,
                OutOfStock,
                HTTPError,
                V2,
                #[serde(rename = "Gone", alias = "gone")]
                Closed,
            }

            #[test]
            fn variants_follow_the_rule() {
                use Renamed::{Closed, HTTPError, Open, OutOfStock, V2};
                assert_written([Open, OutOfStock, HTTPError, V2, Closed]);
            }
        }
    )*};
}

renamed! {
    lower, "lowercase";
    upper, "UPPERCASE";
    pascal, "PascalCase";
    camel, "camelCase";
    snake, "snake_case";
    screaming_snake, "SCREAMING_SNAKE_CASE";
    kebab, "kebab-case";
    screaming_kebab, "SCREAMING-KEBAB-CASE";
}

#[test]
fn newtypes_are_indexed_as_the_value_they_are_written_as() {
    #[derive(Clone, Serialize, Deserialize, IndexValue)]
    #[index_value(crate = crate::facade)]
    #[serde(transparent)]
    struct Level(Option<Status>);
    assert_written([Level(Some(Status::Closed))]);
    assert_eq!(Level(None).to_value(), Value::Null);
}
