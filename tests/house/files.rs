//! How files look: what they open with, how long they grow, what an index re-exports.

use std::fs;

use crate::workspace::sources;

/// Past this a file is two ideas.
const FILE_LINES_MAX: usize = 500;

#[test]
fn every_file_opens_with_what_it_is_for() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        // The inputs of the derives' compile-fail tests are shown as a user writes them.
        if path.components().any(|part| part.as_os_str() == "ui") {
            continue;
        }
        assert!(first.starts_with("//! "), "{} does not open with a //! sentence", path.display());
    }
}

#[test]
fn no_file_holds_two_ideas() {
    for path in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn an_index_re_exports_by_name() {
    for path in sources().iter().filter(|path| path.ends_with("lib.rs")) {
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines().filter(|line| line.starts_with("pub use")) {
            assert!(!line.contains("::*"), "{}: {line}", path.display());
        }
    }
}
