//! What every backend must do, as suites that each backend's own tests run.

pub mod store;
pub mod transport;
