//! Counts messages by name, up to a number of names.

use std::collections::BTreeMap;

/// How many names are counted by themselves: they come from outside without bound.
pub const NAMES_COUNTED_MAX: usize = 64;

/// How much of a name is kept, in characters.
const NAME_CHARS_MAX: usize = 120;

/// How many messages there were of each name, up to [`NAMES_COUNTED_MAX`] names and in all.
///
/// ```
/// use mamey::MessageCounts;
///
/// fn report(ignored: &MessageCounts) {
///     for (name, count) in ignored.by_name() {
///         println!("{count} of {name}");
///     }
///     println!("{} of other names, {} in all", ignored.others(), ignored.total());
/// }
/// # report(&MessageCounts::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    by_name: BTreeMap<String, u64>,
    others: u64,
}

impl MessageCounts {
    /// The names that are counted by themselves, cut to 120 characters, and their counts.
    pub fn by_name(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_name.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// How many messages there were of this name; zero if it is not counted by itself.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or_default()
    }

    /// How many messages had names that are not counted by themselves.
    #[must_use]
    pub const fn others(&self) -> u64 {
        self.others
    }

    /// How many messages there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_name.values().sum::<u64>() + self.others
    }

    /// Adds the counts of another part of the service.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.by_name {
            *self.place(name).0 += count;
        }
        self.others += other.others;
    }

    /// Counts one message, and returns whether it is the first of a name that is counted by itself.
    pub(crate) fn count(&mut self, name: &str) -> bool {
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let (place, has_own) = self.place(&name);
        *place += 1;
        has_own && *place == 1
    }

    fn place(&mut self, name: &str) -> (&mut u64, bool) {
        let has_room = self.by_name.len() < NAMES_COUNTED_MAX;
        if has_room || self.by_name.contains_key(name) {
            return (self.by_name.entry(name.to_owned()).or_default(), true);
        }
        (&mut self.others, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_by_themselves_up_to_a_bound() {
        let mut counts = MessageCounts::default();
        let names: Vec<String> = (0..100).map(|number| format!("kind-{number:03}")).collect();
        let first = names.iter().filter(|name| counts.count(name)).count();
        assert!(!counts.count("kind-000") && !counts.count("kind-099"));
        assert_eq!((first, counts.others(), counts.total()), (NAMES_COUNTED_MAX, 37, 102));
        assert_eq!((counts.of("kind-000"), counts.of("kind-099")), (2, 0));
        let mut all = MessageCounts::default();
        all.count("other");
        all.add(&counts);
        assert_eq!((all.by_name().count(), all.total()), (NAMES_COUNTED_MAX, 103));
        counts.count(&"é".repeat(500));
        let mut long = MessageCounts::default();
        long.count(&"é".repeat(500));
        assert_eq!(long.of(&"é".repeat(NAME_CHARS_MAX)), 1);
    }
}
