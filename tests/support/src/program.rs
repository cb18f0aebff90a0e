//! The programs that tests run: where they are, and how they end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// The target folder, which holds the program of this test.
///
/// # Panics
///
/// Outside of a test that Cargo has built.
#[must_use]
pub fn target_folder() -> PathBuf {
    let target = profile_folder().parent().map(Path::to_owned);
    target.expect("test programs are in `PROFILE/deps` of the target folder")
}

/// An example of the workspace, which the command that builds its tests builds too.
///
/// # Panics
///
/// When it was not built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = profile_folder().join("examples").join(file);
    assert!(program.exists(), "build it first: cargo build --example {name} --all-features");
    program
}

/// Tells a process to end in order.
///
/// # Panics
///
/// As [`signal`].
pub fn terminate(process: &Child) {
    signal(process, "TERM");
}

/// Sends a signal by its name to a process that nobody has waited for yet.
///
/// # Panics
///
/// When it cannot be sent.
pub fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} has failed");
}

fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its program");
    let profile = test.ancestors().nth(2).map(Path::to_owned);
    profile.expect("test programs are in `PROFILE/deps` of the target folder")
}
