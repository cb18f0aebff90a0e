//! Partitions: shares of the keys, which instances lease.

use std::fmt;

use super::key::SLOTS;
use crate::{Error, Result};

/// A share of the keys: every slot whose number leaves `number` when divided by `of`.
///
/// ```
/// use mamey::message::{Key, Partition};
///
/// let partition = Partition::of_slot(Key::new("order-1").slot(), 8)?;
/// assert_eq!(partition.to_string(), "2/8");
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    number: u16,
    of: u16,
}

impl Partition {
    /// Partition `number` of `of`.
    ///
    /// # Errors
    /// `Misconfigured` unless `of` is from 1 to [`SLOTS`] and `number` below it.
    pub fn new(number: u16, of: u16) -> Result<Self> {
        if of == 0 || of > SLOTS || number >= of {
            return Err(Error::misconfigured(format!(
                "there is no partition {number} of {of}: use 1 to {SLOTS} partitions"
            )));
        }
        Ok(Self { number, of })
    }

    /// All partitions of a context that has `of` of them.
    ///
    /// # Errors
    /// `Misconfigured` unless `of` is from 1 to [`SLOTS`].
    pub fn all(of: u16) -> Result<Vec<Self>> {
        Self::new(0, of)?;
        Ok((0..of).map(|number| Self { number, of }).collect())
    }

    /// The partition that a slot falls into.
    ///
    /// # Errors
    /// `Misconfigured` unless `of` is from 1 to [`SLOTS`].
    pub fn of_slot(slot: u16, of: u16) -> Result<Self> {
        Self::new(slot.checked_rem(of).unwrap_or_default(), of)
    }

    /// Its number, counted from 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn of(self) -> u16 {
        self.of
    }

    /// Whether a slot falls into this partition.
    #[must_use]
    pub const fn contains(self, slot: u16) -> bool {
        slot % self.of == self.number
    }

    /// The slots of this partition, ascending.
    pub fn slots(self) -> impl Iterator<Item = u16> {
        (self.number..SLOTS).step_by(usize::from(self.of))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_slot_falls_into_exactly_one_partition(of in 1..=SLOTS, slot in 0..SLOTS) {
            let holding: Vec<_> =
                Partition::all(of).unwrap().into_iter().filter(|p| p.contains(slot)).collect();
            prop_assert_eq!(&holding, &[Partition::of_slot(slot, of).unwrap()]);
            prop_assert!(holding[0].slots().any(|s| s == slot));
        }

        #[test]
        fn partitions_are_as_even_as_can_be(of in 1..=SLOTS) {
            let sizes = Partition::all(of).unwrap().into_iter().map(|p| p.slots().count());
            let least = usize::from(SLOTS / of);
            prop_assert!(sizes.into_iter().all(|size| size == least || size == least + 1));
        }
    }

    #[test]
    fn impossible_partitions_are_refused() {
        for (number, of) in [(0, 0), (1, 1), (0, SLOTS + 1)] {
            assert!(Partition::new(number, of).is_err());
        }
        assert!(Partition::of_slot(3, 0).is_err());
    }
}
