//! Messages as a test compares them: by name and JSON.

use std::fmt;

use mamey_core::message::{Envelope, Target};
use mamey_core::{Message, Result};
use serde::Serialize;
use serde_json::Value;

/// A message that a test expects: any message that can be written as JSON.
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
