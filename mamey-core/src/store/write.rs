//! Changes to documents, and guards of documents that were only read.

use bytes::Bytes;

use crate::criteria::{Collection, Value};
use crate::{Error, Result};

/// A change to one document.
///
/// ```
/// use mamey::criteria::{Collection, Value, ValueType};
/// use mamey::store::{Change, Expected, UnitOfWork, Write};
///
/// const ORDERS: &Collection = &Collection::new("orders", ValueType::Int);
/// let mut unit = UnitOfWork::default();
/// unit.write(Write::new(ORDERS, Value::Int(7), Expected::Version(3), Change::Remove))?;
/// assert_eq!(unit.writes.len(), 1);
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Write {
    /// Where.
    pub collection: &'static Collection,
    /// Which.
    pub id: Value,
    /// What must be stored before.
    pub expected: Expected,
    /// What is stored after.
    pub change: Change,
}

impl Write {
    /// A change to the document `id` of `collection`.
    #[must_use]
    pub const fn new(
        collection: &'static Collection,
        id: Value,
        expected: Expected,
        change: Change,
    ) -> Self {
        Self { collection, id, expected, change }
    }

    /// The version that a handler sees when it loads its own buffered write: the stored one, so
    /// that saving it again expects the same; 0 for a document that is not stored yet.
    #[must_use]
    pub fn seen_version(&self) -> u64 {
        match self.expected {
            Expected::Absent => 0,
            Expected::Version(version) => version,
        }
    }

    /// Takes over a later write of the same document in the same unit.
    ///
    /// This write's expectation is about what is stored; the later one's, about what the handler
    /// saw, which is that same version. What is removed can be added, or removed again, not saved.
    pub(super) fn merge(&mut self, later: Self) -> Result<()> {
        let name = format_args!("{}/{}", later.collection.name, later.id);
        let removed = matches!(self.change, Change::Remove);
        match (later.expected, &later.change) {
            (Expected::Absent, _) if !removed => Err(Error::already_exists(format!(
                "{name} is added, and this unit of work has put it already"
            ))),
            (Expected::Version(version), _) if version != self.seen_version() => {
                Err(self.seen_otherwise(version))
            }
            (Expected::Version(_), Change::Put { .. }) if removed => Err(Error::not_found(
                format!("{name} is saved, and this unit of work has removed it: add it instead"),
            )),
            _ => {
                self.change = later.change;
                Ok(())
            }
        }
    }

    /// The error of a handler that saw the document at a version other than this write's.
    pub(super) fn seen_otherwise(&self, version: u64) -> Error {
        let name = format_args!("{}/{}", self.collection.name, self.id);
        match self.expected {
            // To run again would be useless.
            Expected::Absent => Error::already_exists(format!(
                "{name} is added, and was loaded at version {version}: save it instead"
            )),
            Expected::Version(written) => Error::conflict(format!(
                "{name} is used at version {version} and written at {written} in one unit of work"
            )),
        }
    }
}

/// What must be stored for a write to succeed.
///
/// Exhaustive: a store that did not check one of them would overwrite documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing under this id; otherwise `AlreadyExists`.
    Absent,
    /// This version; otherwise `Conflict`.
    Version(u64),
}

/// What a write does. Exhaustive, as [`Expected`] is.
#[derive(Clone, Debug)]
pub enum Change {
    /// Stores the document; its version becomes the expected one plus one, or 1.
    Put {
        /// The aggregate as JSON.
        data: Bytes,
        /// Values of the indexed fields, in the collection's order.
        index: Vec<Value>,
    },
    /// Removes the document. With [`Expected::Absent`] it was added and removed in one unit: only
    /// the check is left to do.
    Remove,
}

impl Change {
    /// How many bytes of documents it holds.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Put { data, .. } => data.len(),
            Self::Remove => 0,
        }
    }
}

/// A document that was read and must not have changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Guard {
    /// Where.
    pub collection: &'static Collection,
    /// Which.
    pub id: Value,
    /// The version it was read at.
    pub version: u64,
}

impl Guard {
    /// The document `id` of `collection`, read at `version`.
    #[must_use]
    pub const fn new(collection: &'static Collection, id: Value, version: u64) -> Self {
        Self { collection, id, version }
    }

    /// Whether both are of one document.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        self.collection.name == other.collection.name && self.id == other.id
    }

    /// The error of a handler that saw the document at two versions.
    pub(super) fn seen_otherwise(&self, version: u64) -> Error {
        Error::conflict(format!(
            "{}/{} is guarded at version {} and at {version} in one unit of work",
            self.collection.name, self.id, self.version
        ))
    }
}
