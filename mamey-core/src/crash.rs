//! Named moments at which the crash suite ends a process, and laws that it breaks to test itself.
//!
//! All of it exists only with the feature `crash-points`. Without, [`crash_point!`] is nothing and
//! [`sabotage!`] is its lawful side, so that normal builds hold no trace of either.
//!
//! [`crash_point!`]: crate::crash_point
//! [`sabotage!`]: crate::sabotage

#[cfg(feature = "crash-points")]
mod armed;

#[cfg(feature = "crash-points")]
pub use armed::{acknowledged, deleting_first, is_sabotaged, point};

/// A moment at which the process may be ended: `MAMEY_CRASH_AT=before-commit:3` ends it when it
/// passes that moment for the third time.
#[cfg(feature = "crash-points")]
#[doc(hidden)]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::point($name)
    };
}

/// A moment at which nothing happens in this build.
#[cfg(not(feature = "crash-points"))]
#[doc(hidden)]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
}

/// The lawful way, or the broken one when `MAMEY_CRASH_SABOTAGE` names the law.
#[cfg(feature = "crash-points")]
#[doc(hidden)]
#[macro_export]
macro_rules! sabotage {
    ($law:literal, $broken:expr, $lawful:expr) => {
        if $crate::crash::is_sabotaged($law) { $broken } else { $lawful }
    };
}

/// The lawful way.
#[cfg(not(feature = "crash-points"))]
#[doc(hidden)]
#[macro_export]
macro_rules! sabotage {
    ($law:literal, $broken:expr, $lawful:expr) => {
        $lawful
    };
}
