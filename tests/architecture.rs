//! The map in ARCHITECTURE.md names files and folders that exist.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// The endings of what the page names as a path.
const ENDINGS: [&str; 4] = [".rs", ".sql", ".md", "/"];

/// What the page names relative to a crate: folders that several crates have, and a file to come.
const RELATIVE: [&str; 13] = [
    "mongo/outbox.rs",
    "memory/",
    "sqlite/",
    "postgres/",
    "rabbitmq/",
    "common/",
    "sql/",
    "message/",
    "criteria/",
    "domain/",
    "store/",
    "transport/",
    "context/",
];

/// What stands in backticks and looks like a path. A word of the command line has a space.
fn paths(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|text| ENDINGS.iter().any(|ending| text.ends_with(ending))).collect()
}

#[test]
fn every_path_in_the_architecture_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let paths = paths(&page);
    assert!(paths.len() > 30, "the page names {} paths only", paths.len());
    let missing: Vec<_> = paths
        .into_iter()
        .filter(|path| !RELATIVE.contains(path) && !root.join(path).exists())
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}
