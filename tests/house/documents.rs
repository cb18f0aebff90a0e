//! README and ARCHITECTURE say what is there: the schemes of URLs, the files and folders.

use std::collections::BTreeSet;

use crate::workspace::{read, root};

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
    let page = read("ARCHITECTURE.md");
    let paths = paths(&page);
    assert!(paths.len() > 30, "the page names {} paths only", paths.len());
    let missing: Vec<_> = paths
        .into_iter()
        .filter(|path| !RELATIVE.contains(path) && !root().join(path).exists())
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
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
