//! The store on one SQLite file: the embedded default, durable without a server.
//!
//! | Port or task | File |
//! |---|---|
//! | `Database`: open a file, open a context, close | `database.rs` |
//! | `Store`, and what the other ports share | `store.rs` (what contexts share: `shared.rs`) |
//! | `DocumentStore` | `document.rs`, with criteria in `query/filter.rs` |
//! | `CommitStore` | `commit/mod.rs`; which units share a transaction: `commit/writer.rs` |
//! | `OutboxStore` | `outbox.rs` |
//! | `StalledStore` | `stalled.rs` |
//! | `UndeliveredStore` | `undelivered.rs` |
//! | `InboxStore`, with the retention job (`expire_inbox`) | `inbox.rs` |
//! | `ParkingStore`, `DeadLetterStore` | `parking.rs` |
//! | `LeaseStore` | `lease.rs` |
//! | The parked-lane check | `commit/receipt.rs` |
//! | The file: its lock and its connections | `connection/` |
//! | Migrations, tables, indexes | `schema/` |
//! | What a failure means | `error.rs` |

mod builds;
mod commit;
mod connection;
mod database;
mod document;
mod error;
mod inbox;
mod lease;
mod options;
mod outbox;
mod parking;
mod query;
mod schema;
mod shared;
mod stalled;
mod stats;
mod store;
mod undelivered;

pub use self::database::SqliteDatabase;
pub(crate) use self::database::{check, connect};
pub use self::options::SqliteOptions;
pub use self::stats::SqliteStats;
