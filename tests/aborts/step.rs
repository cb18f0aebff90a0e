//! The messages, and what tests and processes tell each other.

use mamey::Event;
use serde::{Deserialize, Serialize};

/// Where the files are that steer the handlers.
pub const FOLDER: &str = "MAMEY_TEST_FOLDER";

/// Which process it is, in the name of the file in which it says how far it is.
pub const INSTANCE: &str = "MAMEY_TEST_INSTANCE";

/// Once this file exists, handlers that wait go on.
pub const OPEN: &str = "open";

/// Once this file exists, handlers no longer fail at first.
pub const ARMED: &str = "armed";

/// What the receiver does with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    Handle,
    /// Handles it once the file [`OPEN`] is there.
    Wait,
    Abort,
    OverflowTheStack,
    /// Fails, so that the message is parked, until the file [`ARMED`] is there; then aborts.
    FailThenAbort,
    FailThenWait,
}

/// One message.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(name = "aborts-sender.step", key = key, must_route)]
pub struct Step {
    pub key: String,
    /// Its place among the steps of its key, counted from 1.
    pub number: u64,
    pub how: How,
}
