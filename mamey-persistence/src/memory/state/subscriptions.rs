//! What the builds of a context have declared of messages.

use std::collections::BTreeMap;

use mamey_core::clock::Timestamp;
use mamey_core::store::{AWAITED_FOR, Declaration, Declared, Subscription};

/// What the builds of one context have declared, by the names of the messages.
#[derive(Default)]
pub(crate) struct Subscriptions(BTreeMap<String, Entry>);

#[derive(Clone, Copy, Default)]
struct Entry {
    handled: Option<Spell>,
    ignored: Option<Spell>,
    in_process: bool,
}

/// When it was declared first and last, without a longer pause.
#[derive(Clone, Copy)]
struct Spell {
    since: Timestamp,
    last: Timestamp,
}

impl Subscriptions {
    pub(crate) fn declare(&mut self, declaration: &Declaration, now: Timestamp) {
        for name in &declaration.handles {
            let entry = self.entry(name);
            Spell::extend(&mut entry.handled, now);
            entry.in_process = declaration.in_process;
        }
        for name in &declaration.ignores {
            Spell::extend(&mut self.entry(name).ignored, now);
        }
    }

    pub(crate) fn get(&self, names: &[&str], now: Timestamp) -> Vec<Subscription> {
        let known = names.iter().filter_map(|name| self.0.get_key_value(*name));
        known.map(|(name, entry)| entry.read(name, now)).collect()
    }

    /// Those that are handled over an in-process transport.
    pub(crate) fn in_process(&self, now: Timestamp) -> impl Iterator<Item = Subscription> {
        let entries = self.0.iter().filter(|(_, entry)| entry.in_process);
        entries.map(move |(name, entry)| entry.read(name, now))
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.0.entry(name.to_owned()).or_default()
    }
}

impl Entry {
    fn read(&self, name: &str, now: Timestamp) -> Subscription {
        Subscription::new(name)
            .with_handled(self.handled.map(|spell| spell.at(now)))
            .with_ignored(self.ignored.map(|spell| spell.at(now)))
    }
}

impl Spell {
    fn extend(spell: &mut Option<Self>, now: Timestamp) {
        let goes_on = spell.filter(|spell| now.duration_since(spell.last) <= AWAITED_FOR);
        let since = goes_on.map_or(now, |spell| spell.since);
        let last = goes_on.map_or(now, |spell| spell.last.max(now));
        *spell = Some(Self { since, last });
    }

    fn at(self, now: Timestamp) -> Declared {
        Declared::new(now.duration_since(self.since), now.duration_since(self.last))
    }
}
