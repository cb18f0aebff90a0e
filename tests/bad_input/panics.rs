//! Fails the tests for every panic that does not come from this program's own files.
//!
//! A panic in a background task would otherwise be caught somewhere and pass unseen.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};

/// Assertions and scripted handlers panic from here.
const OWN_FILES: &str = "tests/bad_input/";

static INSTALL: Once = Once::new();
static UNEXPECTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to watch; again, it does nothing.
pub fn watch() {
    INSTALL.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_own(panic) {
                let mut unexpected = UNEXPECTED.lock().unwrap_or_else(PoisonError::into_inner);
                unexpected.push(panic.to_string());
            }
            print(panic);
        }));
    });
}

/// No panic came from elsewhere so far, in no test of this program.
pub fn assert_none() {
    let unexpected = UNEXPECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let found = unexpected.clone();
    drop(unexpected);
    assert!(found.is_empty(), "the library panicked: {found:#?}");
}

fn is_own(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|location| location.file().contains(OWN_FILES))
}

#[test]
fn a_panic_from_elsewhere_is_told_from_a_scripted_one() {
    watch();
    let scripted = std::panic::catch_unwind(|| panic!("the script says panic"));
    assert!(scripted.is_err());
    assert_none();
}
