//! No circle of files: of two files at most one uses the other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::tree::Crate;
use crate::uses::{Uses, uses};
use crate::workspace::{CRATES, root};

#[test]
fn no_files_use_each_other() {
    let mut found = Vec::new();
    for package in CRATES {
        let uses = uses(&Crate::read(root(), package));
        for circle in circles(&uses) {
            found.push("a circle:".to_owned());
            for file in &circle {
                let within =
                    uses[*file].iter().filter(|(other, _)| circle.contains(other.as_path()));
                found.extend(within.map(|(other, path)| {
                    format!("  {} uses {path} of {}", file.display(), other.display())
                }));
            }
        }
    }
    assert!(
        found.is_empty(),
        "put what these files share into a file that uses none of them:\n{}",
        found.join("\n")
    );
}

/// The sets of files that use each other, directly or through others.
fn circles(uses: &Uses) -> BTreeSet<BTreeSet<&Path>> {
    let reach: BTreeMap<&Path, BTreeSet<&Path>> =
        uses.keys().map(|file| (file.as_path(), reachable(uses, file))).collect();
    let in_circle = reach.iter().filter(|(file, from_here)| from_here.contains(*file));
    in_circle
        .map(|(file, from_here)| {
            from_here.iter().copied().filter(|other| reach[other].contains(file)).collect()
        })
        .collect()
}

fn reachable<'u>(uses: &'u Uses, from: &Path) -> BTreeSet<&'u Path> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for used in uses[file].keys() {
            if found.insert(used.as_path()) {
                open.push(used);
            }
        }
    }
    found
}

#[test]
fn a_circle_is_found() {
    let uses = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
    let uses: Uses = uses
        .into_iter()
        .map(|(file, used)| (file.into(), [(used.into(), String::new())].into()))
        .collect();
    let expected = BTreeSet::from([BTreeSet::from([Path::new("b"), Path::new("c")])]);
    assert_eq!(circles(&uses), expected);
}
