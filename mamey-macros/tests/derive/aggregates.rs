//! Collections, indexes, the values of indexed fields, and the constants for criteria.

use mamey_core::Aggregate as _;
use mamey_core::criteria::{
    Comparison, Criteria, Field, Filter, Index, Value, ValueType, indexed_values,
};
use mamey_macros::{Aggregate, IndexValue};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Serialize, Deserialize, IndexValue)]
#[index_value(crate = crate::facade)]
enum Status {
    Open,
    OutOfStock,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "order_book2", crate = crate::facade)]
struct Order {
    lines: Vec<String>,
    #[aggregate(unique)]
    number: i64,
    #[aggregate(id)]
    order_id: String,
    #[aggregate(index)]
    status: Status,
    #[aggregate(index)]
    r#type: Option<String>,
    #[aggregate(index)]
    rating: f64,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "counters", crate = crate::facade)]
struct Counter {
    #[aggregate(id)]
    id: i64,
    version: u64,
}

fn order(status: Status, rating: f64) -> Order {
    let (order_id, lines) = ("order-1".to_owned(), vec!["rice".to_owned()]);
    Order { lines, number: 7, order_id, status, r#type: None, rating }
}

#[test]
fn the_collection_lists_the_id_and_the_indexes_in_the_order_of_the_fields() {
    let collection = Order::COLLECTION;
    assert_eq!((collection.name, collection.id), ("order_book2", ValueType::Text));
    let index = |field, value, unique| Index::new(field, value).with_unique(unique);
    let indexes = [
        index("number", ValueType::Int, true),
        index("status", ValueType::Text, false),
        index("type", ValueType::Text, false),
        index("rating", ValueType::Float, false),
    ];
    assert_eq!(collection.indexes, indexes);
}

#[test]
fn index_values_stand_in_the_order_of_the_indexes() {
    let order = order(Status::OutOfStock, -0.0);
    assert_eq!(order.id(), "order-1");
    let text = |text: &str| Value::Text(text.to_owned());
    let values = [Value::Int(7), text("OutOfStock"), Value::Null, Value::Float(0.0)];
    assert_eq!(order.index_values(), values);
    let types = Order::COLLECTION.indexes.iter().map(|index| index.value);
    for (value, own) in order.index_values().iter().zip(types) {
        assert!(value.value_type().is_none_or(|value| value == own), "{value}");
    }
    assert_eq!(order.lines, ["rice"]);
}

#[test]
fn each_indexed_field_and_the_id_is_a_constant_for_criteria() {
    let criteria: Criteria<Order> = Order::TYPE.eq("wholesale".to_owned());
    let expected = Filter::Compare {
        field: "type",
        comparison: Comparison::Equal,
        value: Value::Text("wholesale".to_owned()),
    };
    assert_eq!(criteria.filter(), &expected);
    let rating: Field<Order, f64> = Order::RATING;
    let names = [Order::NUMBER.name(), Order::STATUS.name(), rating.name(), Order::ID.name()];
    assert_eq!(names, ["number", "status", "rating", "id"]);
    assert!(matches!(
        Order::STATUS.one_of([Status::Open]).filter(),
        Filter::OneOf { field: "status", values } if values.as_slice() == [Value::Text("Open".to_owned())]
    ));
}

#[test]
fn fields_that_are_not_indexed_may_have_the_names_of_columns() {
    let counter = Counter { id: 3, version: 9 };
    assert_eq!((counter.id(), counter.version), (&3, 9));
    assert!(counter.index_values().is_empty());
    assert!(Counter::COLLECTION.indexes.is_empty());
    assert_eq!(Counter::COLLECTION.value_type(Counter::ID.name()), Some(ValueType::Int));
}

/// One indexed field for each way in which serde names it.
macro_rules! renamed {
    ($($module:ident, $rule:literal => $name:literal;)*) => {$(
        mod $module {
            use super::*;

            #[derive(Aggregate, Serialize, Deserialize)]
            #[aggregate(collection = "renamed", crate = crate::facade)]
            #[serde(rename_all = $rule)]
            struct Renamed {
                #[aggregate(id)]
                order_id: i64,
                #[aggregate(index)]
                customer_id: String,
                #[aggregate(unique)]
                #[serde(rename = "e-Mail", default, alias = "mail")]
                email: Option<String>,
            }

            #[test]
            fn the_index_has_the_name_that_serde_writes() {
                let renamed = Renamed {
                    order_id: 1, customer_id: "ada".to_owned(), email: Some("a@b".to_owned()),
                };
                let names: Vec<_> = Renamed::COLLECTION.indexes.iter().map(|it| it.field).collect();
                assert_eq!(names, [$name, "e-Mail"]);
                assert_eq!([Renamed::CUSTOMER_ID.name(), Renamed::EMAIL.name()], [$name, "e-Mail"]);
                assert_written(&renamed);
            }
        }
    )*};
}

renamed! {
    lower, "lowercase" => "customer_id";
    upper, "UPPERCASE" => "CUSTOMER_ID";
    pascal, "PascalCase" => "CustomerId";
    camel, "camelCase" => "customerId";
    snake, "snake_case" => "customer_id";
    screaming_snake, "SCREAMING_SNAKE_CASE" => "CUSTOMER_ID";
    kebab, "kebab-case" => "customer-id";
    screaming_kebab, "SCREAMING-KEBAB-CASE" => "CUSTOMER-ID";
}

/// What the index is told is what the document holds.
fn assert_written<A: mamey_core::Aggregate>(aggregate: &A) {
    let json = serde_json::to_vec(aggregate).unwrap();
    let written = indexed_values(A::COLLECTION, &json).unwrap();
    assert_eq!(written, aggregate.index_values());
    assert!(written.iter().all(|value| !value.is_null()), "{written:?}");
}

#[test]
fn both_sides_of_a_rename_may_be_given_when_they_agree() {
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(collection = "sides", crate = crate::facade)]
    #[serde(rename_all(serialize = "camelCase", deserialize = "camelCase"), tag = "kind", default)]
    #[derive(Default)]
    struct Sides {
        #[aggregate(id)]
        id: i64,
        #[aggregate(index)]
        due_at: f32,
        #[aggregate(index)]
        #[serde(rename(deserialize = "who", serialize = "who"))]
        owner: String,
        #[aggregate(index)]
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(flatten)]
        rest: std::collections::BTreeMap<String, u8>,
    }
    let names: Vec<_> = Sides::COLLECTION.indexes.iter().map(|index| index.field).collect();
    assert_eq!(names, ["dueAt", "who", "note"]);
    let sides = Sides { due_at: 0.1, note: Some("x".to_owned()), ..Sides::default() };
    assert_written(&sides);
    let json = serde_json::to_vec(&Sides::default()).unwrap();
    assert_eq!(indexed_values(Sides::COLLECTION, &json).unwrap(), Sides::default().index_values());
}
