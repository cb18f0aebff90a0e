//! What a handler is given: its unit of work, and what it may know of the message and the world.

mod read;
mod repository;
mod request;
mod scope;
mod write;

pub use read::{Cause, ReadContext};
pub use repository::{ReadRepository, Repository};
pub use request::{AddressedRequest, RequestOrigin, UnaddressedRequest};
pub use scope::Scope;
pub use write::{Context, TransactionPlace};
