//! README and ARCHITECTURE say what is there: the schemes of URLs, the files and folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::{read, root};

/// Folders that are no part of the tree.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

#[test]
fn the_map_names_what_exists() {
    let mut paths = Vec::new();
    collect(root(), &mut paths);
    let text = read("ARCHITECTURE.md");
    // Every other part is a drawing or a piece of code.
    let text: String = text.split("```").step_by(2).collect();
    let names = text.split('`').skip(1).step_by(2).filter(|name| is_path(name));
    let missing: Vec<_> = names.filter(|name| !paths.iter().any(|it| it.ends_with(name))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

/// Whether a name in backticks looks like that of a file or a folder.
fn is_path(name: &str) -> bool {
    let ends = [".rs", ".sql", ".toml", ".md", ".sh"];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let is_path = name.contains('/') || ends.iter().any(|end| name.ends_with(end));
    is_path && name.chars().all(is_plain)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if NOT_OURS.iter().any(|other| path.ends_with(other)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        }
        found.push(path);
    }
}

/// A row of README's table: `| `scheme:` | store | …`.
#[test]
fn readme_lists_the_schemes_of_the_backends() {
    let text = read("README.md");
    for (kind, connect) in [
        ("store", "mamey-persistence/src/connect.rs"),
        ("transport", "mamey-messaging/src/connect.rs"),
    ] {
        let source = read(connect);
        let schemes = schemes(&source);
        if schemes.is_empty() {
            // The backends of this crate are in no table yet.
            continue;
        }
        let of_kind = format!(" | {kind} | ");
        let rows = text.lines().filter(|line| line.starts_with("| `") && line.contains(&of_kind));
        let names = rows.filter_map(|row| row.split(" | ").next());
        let listed: BTreeSet<_> =
            names.flat_map(|names| names.split('`')).filter_map(scheme).collect();
        assert_eq!(listed, schemes, "the {kind}s in README.md and in {connect}");
    }
}

fn scheme(name: &str) -> Option<&str> {
    let scheme = name.strip_suffix(':')?;
    scheme.chars().all(|c| c.is_ascii_lowercase()).then_some(scheme)
}

/// The schemes in the table of backends.
fn schemes(source: &str) -> BTreeSet<&str> {
    let lists = source.split("schemes: &[").skip(1).filter_map(|rest| rest.split(']').next());
    lists.flat_map(|list| list.split('"').skip(1).step_by(2)).collect()
}
