//! A stand-in for the crate `mamey`: exactly the paths that generated code may name.

pub(crate) use mamey_core::{
    Aggregate, Command, Error, Event, Message, Query, Rejection, Result, criteria, domain, id,
    message, private,
};

pub(crate) mod validation {
    use super::{Error, Result};

    /// What a message of these tests says about itself.
    pub(crate) trait Validate {
        fn fault(&self) -> Option<&'static str>;
    }

    pub(crate) fn check<T: Validate>(value: &T) -> Result<()> {
        value.fault().map_or(Ok(()), |fault| Err(Error::invalid(fault)))
    }
}
