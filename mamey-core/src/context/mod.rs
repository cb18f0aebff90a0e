//! What a handler is given: reads, its unit of work, and facts about its message.

mod cause;
mod read;
mod read_repository;
mod repository;
mod request;
mod scope;
mod stored;
mod transaction;
mod unit;
mod unreadable;
mod write;

pub use cause::Cause;
pub use read::ReadContext;
pub use read_repository::ReadRepository;
pub use repository::Repository;
pub use request::{AddressedRequest, RequestOrigin, UnaddressedRequest};
pub use scope::Scope;
pub use transaction::TransactionPlace;
pub use unreadable::UnreadableReport;
pub use write::Context;
