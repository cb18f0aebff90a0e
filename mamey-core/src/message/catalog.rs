//! The catalog: which messages a context handles, publishes and serves.

use std::collections::BTreeMap;
use std::fmt;

use super::kinds::Message;

/// What a context does with a message.
///
/// Exhaustive: whoever prints or checks a catalog must decide about each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The context handles this command for callers in its own process.
    Command,
    /// The context answers this query for callers in its own process.
    Query,
    /// The context handles this message from the transport.
    Handles,
    /// The context publishes this event.
    Publishes,
    /// The context answers this command or query for other contexts.
    Serves,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Handles => "handles",
            Self::Publishes => "publishes",
            Self::Serves => "serves",
        })
    }
}

/// One message in a context's catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct CatalogEntry {
    /// What the context does with it.
    pub direction: Direction,
    /// The message's stable name.
    pub name: &'static str,
    /// The version this build reads and writes.
    pub version: u32,
}

impl CatalogEntry {
    /// The entry of a message type.
    #[must_use]
    pub fn of<M: Message>(direction: Direction) -> Self {
        Self { direction, name: M::NAME, version: M::VERSION }
    }
}

/// All messages that one context handles, publishes and serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog(BTreeMap<(Direction, &'static str), CatalogEntry>);

impl Catalog {
    /// Adds an entry; false when its direction and name are taken.
    pub fn insert(&mut self, entry: CatalogEntry) -> bool {
        self.0.insert((entry.direction, entry.name), entry).is_none()
    }

    /// Whether there is an entry for `name` in `direction`.
    #[must_use]
    pub fn contains(&self, direction: Direction, name: &'static str) -> bool {
        self.0.contains_key(&(direction, name))
    }

    /// All entries, by direction and name.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogEntry> {
        self.0.values()
    }

    /// The names in one direction.
    pub fn names(&self, direction: Direction) -> impl Iterator<Item = &'static str> {
        self.iter().filter(move |entry| entry.direction == direction).map(|entry| entry.name)
    }
}

impl fmt::Display for Catalog {
    /// One line for each entry: direction, name, version.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.iter() {
            let direction = entry.direction.to_string();
            writeln!(f, "{direction:<10} {} v{}", entry.name, entry.version)?;
        }
        Ok(())
    }
}
