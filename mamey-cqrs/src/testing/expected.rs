//! Messages as a test compares them: by name and JSON.

use std::fmt;

use mamey_core::message::{Envelope, Target};
use mamey_core::{Message, Result};
use serde::Serialize;
use serde_json::Value;

/// A message that a test expects: any message that can be written as JSON. It is implemented for
/// all of them, so that a list of expectations may mix their types.
///
/// ```
/// use mamey::testing::ExpectedMessage;
/// use mamey::{Event, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "orders.placed", key = id)]
/// struct Placed { id: u32 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "stock.taken", key = sku)]
/// struct Taken { sku: String }
///
/// # fn main() -> Result<()> {
/// let expected: [&dyn ExpectedMessage; 2] = [&Placed { id: 1 }, &Taken { sku: "tea".into() }];
/// assert_eq!(expected[0].name(), "orders.placed");
/// assert_eq!(expected[1].payload()?["sku"], "tea");
/// # Ok(()) }
/// ```
pub trait ExpectedMessage {
    /// The message's name.
    fn name(&self) -> &'static str;

    /// Its payload.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written as JSON.
    fn payload(&self) -> Result<Value>;
}

impl<M: Message + Serialize> ExpectedMessage for M {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn payload(&self) -> Result<Value> {
        read(&self.encode()?)
    }
}

/// A message reduced to what tests compare.
#[derive(PartialEq)]
pub(super) struct Comparable {
    target: Target,
    name: String,
    payload: Value,
}

impl Comparable {
    pub(super) fn expected(target: &Target, message: &dyn ExpectedMessage) -> Result<Self> {
        Ok(Self {
            target: target.clone(),
            name: message.name().to_owned(),
            payload: message.payload()?,
        })
    }

    pub(super) fn sent(envelope: &Envelope) -> Result<Self> {
        Ok(Self {
            target: envelope.metadata.target.clone(),
            name: envelope.metadata.name.clone().into_owned(),
            payload: read(&envelope.payload)?,
        })
    }
}

fn read(payload: &[u8]) -> Result<Value> {
    serde_json::from_slice(payload).map_err(mamey_core::Error::other)
}

impl fmt::Display for Comparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Any => write!(f, "{} {}", self.name, self.payload),
            Target::Service(name) => write!(f, "to {name}: {} {}", self.name, self.payload),
        }
    }
}

/// One message a line, or `nothing`.
pub(super) struct Listed<'a>(pub(super) &'a [Comparable]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("\n    nothing");
        }
        self.0.iter().try_for_each(|message| write!(f, "\n    {message}"))
    }
}
