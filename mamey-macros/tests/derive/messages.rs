//! Names, versions, keys, replies, validation and upcasting.

use std::any::TypeId;

use mamey_core::message::{ByCommand, ByQuery, Key};
use mamey_core::{ErrorKind, Message as _};
use mamey_macros::{Command, Event, Message, Query};
use serde::{Deserialize, Serialize};

use crate::facade::validation::Validate;

#[derive(Clone, Command)]
#[command(crate = crate::facade)]
struct StockProduct;

#[derive(Clone, Command, Serialize, Deserialize)]
#[command(
    reply = Vec<u64>,
    name = "orders.place-order",
    version = 3,
    key = customer.id,
    validate,
    crate = crate::facade
)]
struct PlaceOrder {
    customer: Customer,
}

#[derive(Clone, Serialize, Deserialize)]
struct Customer {
    id: u64,
}

impl Validate for PlaceOrder {
    fn fault(&self) -> Option<&'static str> {
        (self.customer.id == 0).then_some("customer: is missing")
    }
}

#[derive(Query)]
#[query(reply = Option<u64>, version = 2, validate, crate = crate::facade)]
enum FindOrder {
    ById(u64),
    Latest,
}

impl Validate for FindOrder {
    fn fault(&self) -> Option<&'static str> {
        matches!(self, Self::ById(0)).then_some("id: is missing")
    }
}

#[derive(Query, Serialize, Deserialize)]
#[query(name = "catalog.get-price", reply = u64, crate = crate::facade)]
struct GetPriceV1 {
    item: String,
}

#[derive(Debug, PartialEq, Query, Serialize, Deserialize)]
#[query(name = "catalog.get-price", version = 2, from = GetPriceV1, crate = crate::facade)]
#[query(reply = u64)]
struct GetPrice {
    sku: String,
}

impl From<GetPriceV1> for GetPrice {
    fn from(old: GetPriceV1) -> Self {
        Self { sku: old.item }
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(name = "take-payment", key = 1, must_route, crate = crate::facade)]
struct TakePayment(i64, String);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", key = r#type, crate = crate::facade)]
struct OrderPlacedV1 {
    r#type: String,
    euros: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", version = 2, from = OrderPlacedV1, crate = crate::facade)]
struct OrderPlacedV2 {
    cents: i64,
}

impl From<OrderPlacedV1> for OrderPlacedV2 {
    fn from(old: OrderPlacedV1) -> Self {
        let cents = old.euros * 100;
        Self { cents }
    }
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(name = "orders.order-placed", version = 4, from = OrderPlacedV2, crate = crate::facade)]
struct OrderPlaced {
    cents: i64,
    currency: String,
}

impl From<OrderPlacedV2> for OrderPlaced {
    fn from(old: OrderPlacedV2) -> Self {
        Self { cents: old.cents, currency: "EUR".to_owned() }
    }
}

/// Generated code must also compile for types that a user's own macro writes.
macro_rules! keyed_events {
    ($($event:ident($name:literal, $key:ident, $old:ty);)*) => {$(
        #[derive(Event, Serialize, Deserialize)]
        #[event(name = $name, key = $key, version = 9, from = $old, crate = crate::facade)]
        struct $event {
            $key: i64,
        }

        impl From<$old> for $event {
            fn from(old: $old) -> Self {
                Self { $key: old.cents }
            }
        }
    )*};
}

keyed_events! {
    OrderRepriced("orders.order-placed", cents, OrderPlaced);
}

fn reply_of<C: mamey_core::Command>(_: &C) -> &'static str {
    std::any::type_name::<C::Reply>()
}

fn answer_of<Q: mamey_core::Query>(_: &Q) -> &'static str {
    std::any::type_name::<Q::Reply>()
}

#[test]
fn a_command_that_says_nothing_is_named_after_its_type_and_replies_nothing() {
    assert_eq!(StockProduct::NAME, "stock-product");
    assert_eq!(StockProduct::VERSION, 1);
    assert_eq!(StockProduct.key(), None);
    assert_eq!(reply_of(&StockProduct), "()");
    assert!(StockProduct.validate().is_ok());
}

#[test]
fn a_command_is_what_its_attribute_says() {
    let command = PlaceOrder { customer: Customer { id: 7 } };
    assert_eq!((PlaceOrder::NAME, PlaceOrder::VERSION), ("orders.place-order", 3));
    assert_eq!(command.key(), Some(Key::from("7")));
    assert_eq!(reply_of(&command), std::any::type_name::<Vec<u64>>());
    assert!(command.validate().is_ok());
}

#[test]
fn validate_asks_the_facade_s_check() {
    let error = PlaceOrder { customer: Customer { id: 0 } }.validate().unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "customer: is missing"));
    assert!(FindOrder::ById(0).validate().is_err());
    assert!(FindOrder::Latest.validate().is_ok());
}

#[test]
fn a_query_is_what_its_attribute_says() {
    assert_eq!((FindOrder::NAME, FindOrder::VERSION), ("find-order", 2));
    assert_eq!(answer_of(&FindOrder::Latest), std::any::type_name::<Option<u64>>());
    assert_eq!(FindOrder::Latest.key(), None);
}

#[test]
fn what_is_named_can_be_requested_with_the_same_reply() {
    fn kind_of<R: mamey_core::Request>() -> (&'static str, TypeId, TypeId) {
        (R::NAME, TypeId::of::<R::Reply>(), TypeId::of::<R::Kind>())
    }
    let (reply, kind) = (TypeId::of::<Vec<u64>>(), TypeId::of::<ByCommand>());
    assert_eq!(kind_of::<PlaceOrder>(), ("orders.place-order", reply, kind));
    let (reply, kind) = (TypeId::of::<u64>(), TypeId::of::<ByQuery>());
    assert_eq!(kind_of::<GetPrice>(), ("catalog.get-price", reply, kind));
    let upcast = GetPrice::decode(1, br#"{"item": "tea"}"#).unwrap();
    assert_eq!(upcast, GetPrice { sku: "tea".to_owned() });
}

#[test]
fn a_message_of_unnamed_fields_has_a_key_and_must_route() {
    let message = TakePayment(5, "order-1".to_owned());
    assert_eq!(message.key(), Some(Key::from("order-1")));
    assert_eq!((TakePayment::MUST_ROUTE, OrderPlaced::MUST_ROUTE), (true, false));
    let bytes = message.encode().unwrap();
    assert_eq!(TakePayment::decode(1, &bytes).unwrap().0, 5);
}

#[test]
fn every_older_version_is_upcast_through_the_chain() {
    let today = OrderPlaced { cents: 300, currency: "EUR".to_owned() };
    let first = br#"{"type": "order-1", "euros": 3}"#;
    assert_eq!(OrderPlaced::decode(1, first).unwrap(), today);
    assert_eq!(OrderPlaced::decode(2, br#"{"cents": 300}"#).unwrap(), today);
    let bytes = today.encode().unwrap();
    assert_eq!(OrderPlaced::decode(4, &bytes).unwrap(), today);
    assert_eq!(OrderPlacedV1 { r#type: "t".to_owned(), euros: 1 }.key(), Some(Key::from("t")));
}

#[test]
fn types_from_a_users_macro_have_keys_and_are_upcast_too() {
    let repriced = OrderRepriced::decode(1, br#"{"type": "order-1", "euros": 3}"#).unwrap();
    assert_eq!(repriced.key(), Some(Key::from("300")));
}

#[test]
fn unknown_versions_are_refused_with_a_fix() {
    let newer = OrderPlaced::decode(5, b"{}").unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::Unsupported);
    assert!(newer.message().contains("deploy the consumers"), "{newer}");
    // Version 3 was never sent: it reaches the type of version 2, which is older.
    let skipped = OrderPlaced::decode(3, b"{}").unwrap_err();
    assert!(skipped.message().contains("reads version 2"), "{skipped}");
    let older = OrderPlaced::decode(0, b"{}").unwrap_err();
    assert!(older.message().contains("declare `from = …`"), "{older}");
}

#[test]
fn an_old_payload_that_does_not_fit_its_own_version_is_invalid() {
    let error = OrderPlaced::decode(1, br#"{"cents": 300}"#).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("version 1"), "{error}");
}

#[test]
fn events_are_events() {
    fn name_of<E: mamey_core::Event>() -> &'static str {
        E::NAME
    }
    assert_eq!(name_of::<OrderPlaced>(), "orders.order-placed");
}
