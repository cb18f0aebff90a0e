//! Named moments at which the crash suite ends a process, and laws that it breaks to test itself.
//!
//! All of it exists only with the feature `failpoints`. Without, `failpoint!` is nothing and
//! `inject_fault!` is its lawful side, so that normal builds hold no trace of either.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::{acknowledged, deleting_first, is_broken, point};

/// A point at which the process may be ended: `MAMEY_FAILPOINT=before-commit:3` ends it when it
/// passes that moment for the third time.
#[cfg(feature = "failpoints")]
#[doc(hidden)]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::point($name)
    };
}

/// A moment at which nothing happens in this build.
#[cfg(not(feature = "failpoints"))]
#[doc(hidden)]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {};
}

/// The lawful way, or the broken one when `MAMEY_INJECT_FAULT` names the law.
#[cfg(feature = "failpoints")]
#[doc(hidden)]
#[macro_export]
macro_rules! inject_fault {
    ($law:literal, $broken:expr, $lawful:expr) => {
        if $crate::failpoint::is_broken($law) { $broken } else { $lawful }
    };
}

/// The lawful way.
#[cfg(not(feature = "failpoints"))]
#[doc(hidden)]
#[macro_export]
macro_rules! inject_fault {
    ($law:literal, $broken:expr, $lawful:expr) => {
        $lawful
    };
}
