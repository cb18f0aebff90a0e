//! The suites that every store and every transport of Mamey passes.
//!
//! A backend's own tests run its suite: one test for each promise of the ports in
//! [`mamey_core::store`] and [`mamey_core::transport`]. Add this crate to the `dev-dependencies` of
//! your backend and write one async function that makes what is tested; the macro makes the tests.
//!
//! # A store
//!
//! ```
//! use std::sync::Arc;
//!
//! use mamey_conformance::{Absent, StoreHarness, store_conformance};
//! use mamey_core::clock::{ManualClock, Timestamp};
//! use mamey_persistence::{MemoryDatabase, MemoryOptions}; // Your store goes here.
//!
//! /// Called once for each case, so each begins with an empty database.
//! async fn harness() -> Result<StoreHarness, Absent> {
//!     let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
//!     let options = MemoryOptions::default().with_clock(clock.clone());
//!     let database = MemoryDatabase::with_options(options);
//!     Ok(StoreHarness::new(Arc::new(database), clock))
//! }
//!
//! store_conformance!(harness);
//! # fn main() {}
//! ```
//!
//! # A transport, and a server that may be absent
//!
//! ```
//! use std::sync::Arc;
//!
//! use mamey_conformance::{Absent, TransportHarness, transport_conformance};
//! use mamey_core::Result;
//! # use mamey_core::transport::Transport;
//! # struct MyTransport;
//! # impl MyTransport {
//! #     async fn connect(_url: &str) -> Result<Arc<dyn Transport>> {
//! #         Ok(Arc::new(mamey_messaging::MemoryTransport::new()))
//! #     }
//! # }
//!
//! async fn harness() -> Result<TransportHarness, Absent> {
//!     let Ok(url) = std::env::var("MY_BROKER_URL") else {
//!         return Err(Absent::new("MY_BROKER_URL is not set"));
//!     };
//!     let transport = MyTransport::connect(&url).await.expect("the broker accepts us");
//!     Ok(TransportHarness::new(transport).with_connect(move || {
//!         let url = url.clone();
//!         async move { MyTransport::connect(&url).await }
//!     }))
//! }
//!
//! transport_conformance!(harness);
//! # fn main() {}
//! ```
//!
//! A case whose server is [`Absent`] is skipped and says so; where `CI=true` or
//! [`REQUIRE_VARIABLE`] is set, it fails. An error that is not absence, such as a wrong password,
//! should panic, as above.
//!
//! # Capabilities
//!
//! A case that needs what the backend's [capabilities](mamey_core::capabilities) deny does not run,
//! and [`report`] says so. Each capability is read by the suite:
//!
//! | Capability | What the suite does with it |
//! |---|---|
//! | [`StoreCapabilities::durable`] | reads what was committed over a new connection, after closing |
//! | [`StoreCapabilities::shared`] | works on one context over two connections |
//! | [`StoreCapabilities::document_bytes_max`] | saves a document of that size, and is refused one byte more |
//! | [`TransportCapabilities::durable`] | receives what was confirmed over a new connection, after closing |
//! | [`TransportCapabilities::remote`] | sends over one connection and receives over another |
//! | [`TransportCapabilities::ordered`] | checks order by (sender, key) |
//! | [`TransportCapabilities::requests`] | asks and replies |
//! | [`TransportCapabilities::repartitions`] | changes the number of partitions while messages wait |
//! | [`TransportCapabilities::message_bytes_max`] | is refused a larger message |
//!
//! [`StoreCapabilities::durable`]: mamey_core::capabilities::StoreCapabilities::durable
//! [`StoreCapabilities::shared`]: mamey_core::capabilities::StoreCapabilities::shared
//! [`StoreCapabilities::document_bytes_max`]: mamey_core::capabilities::StoreCapabilities::document_bytes_max
//! [`TransportCapabilities::durable`]: mamey_core::capabilities::TransportCapabilities::durable
//! [`TransportCapabilities::remote`]: mamey_core::capabilities::TransportCapabilities::remote
//! [`TransportCapabilities::ordered`]: mamey_core::capabilities::TransportCapabilities::ordered
//! [`TransportCapabilities::requests`]: mamey_core::capabilities::TransportCapabilities::requests
//! [`TransportCapabilities::repartitions`]: mamey_core::capabilities::TransportCapabilities::repartitions
//! [`TransportCapabilities::message_bytes_max`]: mamey_core::capabilities::TransportCapabilities::message_bytes_max

mod absent;
mod report;
mod run;
pub mod store;
pub mod transport;

pub use absent::{Absent, REQUIRE_VARIABLE, SKIPPED_VARIABLE, skip, skip_or_fail};
pub use report::{REPORT_VARIABLE, report};
pub use store::StoreHarness;
pub use transport::TransportHarness;
