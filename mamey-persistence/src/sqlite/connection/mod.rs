//! The file, the connections to it, and how they are lent to reads.

pub(crate) mod file;
pub(crate) mod readers;
pub(crate) mod settings;
