//! Who may depend on whom: crates, the modules of core, the folders of the backends.

use std::path::Path;

use crate::tree::Crate;
use crate::uses::uses;
use crate::workspace::{manifest, root, section};

const SIBLINGS: [&str; 3] = ["mamey-cqrs", "mamey-messaging", "mamey-persistence"];

const DRIVERS_AND_RUNTIMES: [&str; 7] =
    ["tokio", "sqlx", "lapin", "mongodb", "redis", "async-std", "smol"];

/// A module of core uses only those before it.
const CORE: [&str; 20] = [
    "error",
    "backoff",
    "retry",
    "clock",
    "id",
    "redact",
    "connection",
    "json",
    "private",
    "capabilities",
    "log_throttle",
    "message",
    "criteria",
    "domain",
    "store",
    "transport",
    "inbound",
    "context",
    "failpoint",
    "lib",
];

/// What a backend's folder uses of its crate besides itself.
const BACKENDS: [(&str, &[&str], &[&str]); 2] = [
    ("mamey-persistence", &["memory", "sqlite", "postgres"], &["common", "sql"]),
    ("mamey-messaging", &["memory", "rabbitmq"], &["common", "limits"]),
];

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
    let dependencies = section(&manifest, "dependencies");
    assert!(!dependencies.is_empty(), "mamey-core has dependencies");
    for banned in DRIVERS_AND_RUNTIMES {
        let depends = dependencies
            .iter()
            .any(|line| line.starts_with(banned) && !line.contains("optional = true"));
        assert!(!depends, "mamey-core depends on {banned}");
    }
}

#[test]
fn core_points_in_one_direction() {
    let place = |file: &Path| {
        let module = module(file);
        let place = CORE.iter().position(|other| *other == module);
        place.unwrap_or_else(|| panic!("`{module}` has no place in the order of mamey-core"))
    };
    let uses = uses(&Crate::read(root(), "mamey-core"));
    let count: usize = uses.values().map(|used| used.len()).sum();
    assert!(count > 100, "only {count} uses were found in mamey-core");
    for (file, used) in uses {
        for (other, path) in used {
            assert!(
                place(&other) <= place(&file),
                "{} uses {path}, of {}, which comes after it",
                file.display(),
                other.display()
            );
        }
    }
}

#[test]
fn a_backend_uses_its_own_folder_and_what_backends_share() {
    let mut wrong = Vec::new();
    for (package, backends, shared) in BACKENDS {
        for (file, used) in uses(&Crate::read(root(), package)) {
            let own = module(&file);
            if !backends.contains(&own.as_str()) {
                continue;
            }
            for (other, path) in used {
                let folder = module(&other);
                if folder != own && !shared.contains(&folder.as_str()) {
                    wrong.push(format!("{} uses {path} of {}", file.display(), other.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a crate for each driver is no mechanical step:\n{}",
        wrong.join("\n")
    );
}

/// The module below the root of its crate that a file belongs to.
fn module(file: &Path) -> String {
    let mut parts = file.components().skip_while(|part| part.as_os_str() != "src").skip(1);
    let first = parts.next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}
