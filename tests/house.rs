//! The rules of the house, as tests: who may depend on whom, how files open, how long they grow.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

const SIBLINGS: [&str; 3] = ["mamey-cqrs", "mamey-messaging", "mamey-persistence"];
const CRATES: [&str; 9] = [
    "mamey-core",
    "mamey-macros",
    "mamey-cqrs",
    "mamey-messaging",
    "mamey-persistence",
    "tests/conformance",
    "tests/fuzz",
    "tests/support",
    "tests/crash",
];

/// Past this a file is two ideas.
const FILE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(package: &str) -> String {
    fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for package in CRATES.map(|package| root().join(package)) {
        collect(&package.join("src"), &mut found);
    }
    for folder in ["src", "examples", "benches", "fuzz/src"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "the rules looked at {} files only", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn siblings_never_depend_on_each_other() {
    for package in SIBLINGS {
        let manifest = manifest(package);
        for other in SIBLINGS.iter().filter(|other| **other != package) {
            let depends = manifest.lines().any(|line| line.trim_start().starts_with(other));
            assert!(
                !depends,
                "{package} depends on its sibling {other}: share a port of mamey-core"
            );
        }
    }
}

#[test]
fn core_has_no_driver_and_no_runtime_by_default() {
    let manifest = manifest("mamey-core");
    let dependencies = manifest
        .split("\n[")
        .find(|section| section.starts_with("dependencies]"))
        .expect("mamey-core has dependencies");
    for banned in ["tokio", "sqlx", "lapin", "mongodb", "redis", "async-std", "smol"] {
        let depends = dependencies
            .lines()
            .any(|line| line.starts_with(banned) && !line.contains("optional = true"));
        assert!(!depends, "mamey-core depends on {banned}");
    }
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
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
