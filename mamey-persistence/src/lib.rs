//! Stores of Mamey: in memory and on SQLite.
//!
//! | Module | Feature | What it holds |
//! |---|---|---|
//! | `memory` | `memory` | the store in memory, for tests and as the reference |

#[cfg(feature = "memory")]
mod memory;
mod schema;
mod sharing;

#[cfg(feature = "memory")]
pub use memory::MemoryDatabase;
