//! Derives of Mamey: messages, aggregates, rejections, ids, and the check of handlers.
//!
//! Services find all of these in the crate `mamey`.
//!
//! | Macro | For |
//! |---|---|
//! | [`Command`](macro@Command), [`Query`](macro@Query) | what callers send, with a reply |
//! | [`Event`](macro@Event), [`Message`](macro@Message) | what travels between contexts |
//! | [`Aggregate`](macro@Aggregate) | what is loaded, changed and saved as one |
//! | [`Rejection`](macro@Rejection) | a domain "no" with a stable code |
//! | [`Id`](macro@Id), [`IndexValue`](macro@IndexValue) | types of ids and indexed fields |
//! | [`macro@handler`] | short errors for functions that should be handlers |
//!
//! Generated code refers to Mamey as `::mamey`. Where Mamey has another path, each derive's attribute
//! takes `crate = path` on the type.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod aggregate;
mod attributes;
mod handler;
mod id;
mod index_value;
mod message;
mod names;
mod rejection;
mod serialized;
mod shape;

use message::Kind;
use proc_macro::TokenStream;
use syn::{DeriveInput, Result, parse_macro_input};

/// A command: an instruction to one handler, which replies.
///
/// A command is `Clone`, because its handler runs again after a conflict.
///
/// | `#[command(…)]` | Meaning | Default |
/// |---|---|---|
/// | `reply = Type` | what the handler replies | `()` |
/// | `name = "orders.place-order"` | its name on the wire | the type's name, such as `place-order` |
/// | `version = 2` | the version of its shape | `1` |
/// | `key = field` | its key: a field that implements `Display`, or a path such as `customer.id` | none |
/// | `from = OldType` | upcasts an older version by `From<OldType>`; see [`Event`](macro@Event) | none |
/// | `validate` | checks its `garde::Validate` before the handler runs | off |
/// | `crate = path` | where generated code finds Mamey | `::mamey` |
///
/// With a name that is written out it is a `Request` too, which other contexts may send and
/// await: then it and its reply derive `serde::Serialize` and
/// `serde::Deserialize`. The default name changes when the type is renamed, so it is never sent.
///
/// ```
/// use mamey::{Command, Message};
///
/// #[derive(Clone, Command)]
/// #[command(reply = u64, key = customer)]
/// pub struct PlaceOrder {
///     pub customer: String,
/// }
///
/// let command = PlaceOrder { customer: "ada".to_owned() };
/// assert_eq!(PlaceOrder::NAME, "place-order");
/// assert_eq!(command.key(), Some("ada".into()));
/// ```
#[proc_macro_derive(Command, attributes(command))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    derive(input, |input| message::expand(Kind::Command, input))
}

/// A query: a question to one handler, which cannot write.
///
/// | `#[query(…)]` | Meaning | Default |
/// |---|---|---|
/// | `reply = Type` | what the handler replies | `()` |
/// | `name = "orders.find-order"` | its name on the wire | the type's name, such as `find-order` |
/// | `version = 2` | the version of its shape | `1` |
/// | `from = OldType` | upcasts an older version by `From<OldType>`; see [`Event`](macro@Event) | none |
/// | `validate` | checks its `garde::Validate` before the handler runs | off |
/// | `crate = path` | where generated code finds Mamey | `::mamey` |
///
/// With a name that is written out it is a `Request` too, which other contexts may send and
/// await: then it and its reply derive `serde::Serialize` and `serde::Deserialize`.
///
/// ```
/// use mamey::Query;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Query)]
/// #[query(reply = u64)]
/// pub struct CountOrders;
///
/// #[derive(Query, Serialize, Deserialize)]
/// #[query(name = "catalog.get-price", reply = Option<u64>)]
/// pub struct GetPrice {
///     pub sku: String,
/// }
/// ```
#[proc_macro_derive(Query, attributes(query))]
pub fn derive_query(input: TokenStream) -> TokenStream {
    derive(input, |input| message::expand(Kind::Query, input))
}

/// An event: a fact that one context publishes and others handle.
///
/// | `#[event(…)]` | Meaning | Default |
/// |---|---|---|
/// | `name = "orders.order-placed"` | its name on the wire, which begins with its context | required |
/// | `key = field` | its key: a field that implements `Display`, or a path such as `customer.id` | none |
/// | `version = 2` | the version of its shape | `1` |
/// | `from = OldType` | upcasts an older version by `From<OldType>` | none |
/// | `must_route` | publishing without a single subscriber is a failure | off |
/// | `validate` | checks its `garde::Validate` before a handler runs | off |
/// | `crate = path` | where generated code finds Mamey | `::mamey` |
///
/// # Versions
///
/// A change that old readers cannot read is a new version. The old type stays beside the new one
/// under the same name, and a `From` between them upcasts what is still on its way or replayed. Each
/// version upcasts the one before it, so a chain reads every version that was ever sent.
///
/// ```
/// use mamey::{Event, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "orders.order-placed", key = order)]
/// struct OrderPlacedV1 {
///     order: u32,
///     euros: i64,
/// }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "orders.order-placed", key = order, version = 2, from = OrderPlacedV1)]
/// struct OrderPlaced {
///     order: u32,
///     cents: i64,
/// }
///
/// impl From<OrderPlacedV1> for OrderPlaced {
///     fn from(old: OrderPlacedV1) -> Self {
///         Self { order: old.order, cents: old.euros * 100 }
///     }
/// }
///
/// let placed = OrderPlaced::decode(1, br#"{"order": 7, "euros": 3}"#)?;
/// assert_eq!(placed.cents, 300);
/// # Ok::<(), mamey::Error>(())
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    derive(input, |input| message::expand(Kind::Event, input))
}

/// A plain message, sent to one context by name.
///
/// `#[message(…)]` takes what [`Event`](macro@Event) takes; the name is required too, but need not
/// begin with a context.
///
/// ```
/// use mamey::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[message(name = "payments.take-payment", key = order)]
/// pub struct TakePayment {
///     pub order: u32,
/// }
///
/// assert_eq!(TakePayment::NAME, "payments.take-payment");
/// ```
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    derive(input, |input| message::expand(Kind::Message, input))
}

/// An aggregate: loaded, changed and saved as one document with a version.
///
/// | `#[aggregate(…)]` | On | Meaning |
/// |---|---|---|
/// | `collection = "orders"` | the type | where it is kept; required |
/// | `crate = path` | the type | where generated code finds Mamey; default `::mamey` |
/// | `id` | one field | its id, whatever the field is called; required |
/// | `index` | a field | criteria can filter and sort by it |
/// | `unique` | a field | as `index`, and no two documents share a value |
///
/// Each indexed field also becomes a constant of the type, from which criteria are built, such as
/// `Order::CUSTOMER`; the id's is `Order::ID`. An indexed field is a column: renaming it, or
/// changing its type, is a migration.
///
/// The index holds what the document holds, so serde's attributes decide: a column has the name that
/// serde writes (`rename`, `rename_all`), while the constant keeps the name of the field. What would
/// hide a field from a store is refused: `flatten`, `skip`, `with` and such on the field, `into` and
/// `transparent` on the type, and two names for writing and reading.
///
/// ```
/// use mamey::{Aggregate, Criteria};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// #[aggregate(collection = "orders")]
/// pub struct Order {
///     #[aggregate(id)]
///     number: i64,
///     #[aggregate(index)]
///     customer: String,
///     lines: Vec<String>,
/// }
///
/// let of_ada: Criteria<Order> = Order::CUSTOMER.eq("ada");
/// ```
#[proc_macro_derive(Aggregate, attributes(aggregate))]
pub fn derive_aggregate(input: TokenStream) -> TokenStream {
    derive(input, aggregate::expand)
}

/// A rejection: a domain "no" that `?` turns into a Mamey error.
///
/// | `#[rejection(…)]` | On | Meaning |
/// |---|---|---|
/// | `code = "orders.empty"` | each variant, or a struct | its stable code, for programs |
/// | `transparent` | a variant or struct with one field | the code of that field, itself a rejection |
/// | `crate = path` | the type | where generated code finds Mamey; default `::mamey` |
///
/// ```
/// use mamey::{ErrorKind, Rejection, Result};
///
/// #[derive(Debug, thiserror::Error, Rejection)]
/// pub enum OrderError {
///     #[error("an order needs at least one line")]
///     #[rejection(code = "orders.empty")]
///     Empty,
/// }
///
/// fn place() -> Result<()> {
///     Err(OrderError::Empty)?
/// }
///
/// let error = place().unwrap_err();
/// assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("orders.empty")));
/// ```
#[proc_macro_derive(Rejection, attributes(rejection))]
pub fn derive_rejection(input: TokenStream) -> TokenStream {
    derive(input, rejection::expand)
}

/// A typed id over `Uuid`, `String` or `i64`.
///
/// It prints, parses, serializes and is stored as the value it wraps: `Display`, `FromStr`,
/// `Serialize`, `Deserialize`, `IndexValue`, `From` of the wrapped type and `as_inner()`. Over
/// `Uuid` it also has `new()` and works with `Context::new_id`; over `String` also `From<&str>`.
/// `Clone` is needed; derive `Copy`, `Debug`, `PartialEq`, `Eq`, `Hash` and others beside it.
///
/// | `#[id(…)]` | Meaning | Default |
/// |---|---|---|
/// | `crate = path` | where generated code finds Mamey | `::mamey` |
///
/// ```
/// use mamey::{Id, Uuid};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
/// pub struct OrderId(Uuid);
///
/// let id = OrderId::new();
/// assert_eq!(id.to_string().parse::<OrderId>()?, id);
/// # Ok::<(), mamey::Error>(())
/// ```
#[proc_macro_derive(Id, attributes(id))]
pub fn derive_id(input: TokenStream) -> TokenStream {
    derive(input, id::expand)
}

/// A type that can be an indexed field: an enum without data, or a newtype of an indexable type.
///
/// A variant is indexed as the text that serde writes for it: its name, such as `OutOfStock`, unless
/// serde's `rename` or `rename_all` says otherwise. `Clone`, `Serialize` and `Deserialize` are needed
/// beside it. Enums that serde does not write as plain text are refused: `tag`, `untagged`, `into`,
/// and variants with data.
///
/// | `#[index_value(…)]` | Meaning | Default |
/// |---|---|---|
/// | `crate = path` | where generated code finds Mamey | `::mamey` |
///
/// ```
/// use mamey::IndexValue;
/// use mamey::criteria::Value;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize, IndexValue)]
/// #[serde(rename_all = "kebab-case")]
/// pub enum OrderStatus {
///     Pending,
///     OutOfStock,
/// }
///
/// assert_eq!(OrderStatus::OutOfStock.to_value(), Value::Text("out-of-stock".to_owned()));
/// ```
#[proc_macro_derive(IndexValue, attributes(index_value))]
pub fn derive_index_value(input: TokenStream) -> TokenStream {
    derive(input, index_value::expand)
}

/// Checks that a function can be a handler: `async fn(Message, &Context) -> Result<Reply>`.
///
/// It changes nothing, and functions without it can be registered too. With it, the error for a
/// function of another shape points at the function and says how to fix it.
///
/// ```
/// use mamey::{Context, Result, handler};
///
/// struct PlaceOrder;
///
/// #[handler]
/// async fn place_order(command: PlaceOrder, cx: &Context) -> Result<u64> {
///     Ok(1)
/// }
/// ```
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(arguments.into(), item.into()).into()
}

fn derive(
    input: TokenStream,
    expand: impl FnOnce(&DeriveInput) -> Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
