//! What one context sends and receives.

use crate::message::ContextName;

/// What one context sends and receives, from which a transport derives exchanges, queues or
/// whatever else it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The context.
    pub context: ContextName,
    /// Names of the messages it handles.
    pub handles: Vec<&'static str>,
    /// Names of the events it publishes.
    pub publishes: Vec<&'static str>,
    /// Over how many partitions its input is spread.
    pub partitions: u16,
}
