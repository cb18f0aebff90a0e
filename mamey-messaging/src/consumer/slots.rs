//! Counts the places of handlers: how many messages, each of another lane, are handled at a time.

#[derive(Debug)]
pub(super) struct Slots {
    taken: usize,
    max: usize,
}

impl Slots {
    pub(super) const fn new(max: usize) -> Self {
        Self { taken: 0, max }
    }

    pub(super) const fn free(&self) -> usize {
        self.max.saturating_sub(self.taken)
    }

    /// Takes a place, if one is free.
    pub(super) const fn take(&mut self) -> bool {
        let free = self.free() > 0;
        if free {
            self.taken += 1;
        }
        free
    }

    pub(super) const fn give_back(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }
}
