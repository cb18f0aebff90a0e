//! What every backend must do, as suites that each backend's own tests run.

mod report;
pub mod store;
pub mod transport;

pub use report::{REPORT_VARIABLE, report};
