//! The store on PostgreSQL: shared by all instances, one schema for each context.
//!
//! | Port or task | File |
//! |---|---|
//! | `Database`: connect, open a context, close | `database.rs` (its URL: `connection/url.rs`) |
//! | `Store`, and what the other ports share | `store.rs` (what contexts share: `shared.rs`) |
//! | `DocumentStore` | `document.rs`, with criteria in `query/filter.rs` |
//! | `CommitStore` | `commit/mod.rs`; which units share a call: `commit/grouping.rs` |
//! | `OutboxStore` | `outbox.rs`, up to where it is complete: `completeness.rs`; who wakes other instances' relays: `wakeup.rs` |
//! | `StalledStore` | `stalled.rs` |
//! | `UndeliveredStore` | `undelivered.rs` |
//! | `InboxStore`, with the retention job (`expire_inbox`) | `inbox.rs` |
//! | `ParkingStore`, `DeadLetterStore` | `parking.rs` |
//! | `LeaseStore` | `lease.rs` |
//! | The parked-lane check | `commit/functions/{batch,lone}.sql`; when it applies: `commit/work.rs` |
//! | The order of all locks | `commit/functions/batch.sql`; their numbers: `commit/locks.rs` |
//! | The schema of a context: migrations, tables, indexes | `schema/mod.rs` |
//! | A handler's own transaction | `transaction.rs`; joining a caller's: `enlist.rs` |
//! | What a session is set to | `connection/session.rs` |
//! | What a failure means | `error.rs` |

mod commit;
mod completeness;
mod connection;
mod database;
mod document;
mod enlist;
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
mod transaction;
mod undelivered;
mod wakeup;

pub use self::database::PostgresDatabase;
pub(crate) use self::database::{check, connect, migration_sql};
pub use self::enlist::{Enlisted, enlist};
pub use self::error::PostgresResultExt;
pub use self::options::PostgresOptions;
pub use self::stats::PostgresStats;
pub use self::transaction::{PostgresContext, PostgresTransaction};
