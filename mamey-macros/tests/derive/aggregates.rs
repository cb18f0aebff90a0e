//! Collections, indexes, the values of indexed fields, and the constants for criteria.

use mamey_core::Aggregate as _;
use mamey_core::criteria::{Comparison, Criteria, Field, Filter, Index, Value, ValueType};
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
    let values = [Value::Int(7), text("out-of-stock"), Value::Null, Value::Float(0.0)];
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
        Filter::OneOf { field: "status", values } if values.as_slice() == [Value::Text("open".to_owned())]
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
