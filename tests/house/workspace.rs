//! Says where the crates of the workspace are, and which of them are published.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const CRATES: [&str; 10] = [
    ".",
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

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the workspace.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn manifest(package: &str) -> String {
    read(Path::new(package).join("Cargo.toml"))
}

/// The lines of a manifest below `[section]`.
pub(crate) fn section<'m>(manifest: &'m str, section: &str) -> Vec<&'m str> {
    let header = format!("[{section}]");
    let below = manifest.lines().skip_while(|line| *line != header).skip(1);
    below.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect()
}

pub(crate) fn published() -> impl Iterator<Item = &'static str> {
    let unpublished = |package: &&str| manifest(package).contains("\npublish = false");
    CRATES.into_iter().filter(move |package| !unpublished(package))
}

/// All Rust files below `src`, `tests`, `examples` and `benches` of the crates, and of the fuzzer.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for package in CRATES.into_iter().chain(["fuzz"]) {
        for folder in ["src", "tests", "examples", "benches"] {
            let folder = root().join(package).join(folder);
            if folder.exists() {
                collect(&folder, &mut found);
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 200, "the rules looked at {} files only", found.len());
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
