//! What each published crate says on docs.rs: every feature shown, and every feature explained.

use crate::workspace::{manifest, published, read, section};

#[test]
fn docs_rs_builds_every_feature() {
    for package in published() {
        let manifest = manifest(package);
        let docs_rs = section(&manifest, "package.metadata.docs.rs");
        assert!(
            docs_rs.contains(&"all-features = true"),
            "{package}/Cargo.toml: docs.rs shows the default features only"
        );
    }
}

/// A feature stands in a row of a table: `| `postgres` | … |`.
#[test]
fn every_feature_is_explained() {
    for package in published() {
        let manifest = manifest(package);
        let mut docs = read(format!("{package}/src/lib.rs"));
        if docs.contains("include_str!(\"../README.md\")") {
            docs.push_str(&read("README.md").replace("\n|", "\n//! |"));
        }
        for line in section(&manifest, "features") {
            let Some((feature, _)) = line.split_once(" = ") else { continue };
            let is_explained = docs
                .lines()
                .any(|line| line.starts_with("//! |") && line.contains(&format!("`{feature}`")));
            assert!(
                is_explained || feature == "default",
                "{package}/src/lib.rs: no table explains the feature `{feature}`"
            );
        }
    }
}
