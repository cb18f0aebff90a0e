//! The programs that tests run: where they are, and how they end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a process may take until it listens to signals, on a busy machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

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

/// Tells a process to end in order, as soon as it listens: until then it would end at once.
///
/// # Panics
///
/// As [`signal`], and when it does not listen within a minute.
pub fn terminate(process: &Child) {
    let patience = Instant::now() + LISTENS_WITHIN;
    while !catches_sigterm(process) {
        assert!(Instant::now() < patience, "the process does not catch SIGTERM");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(process, "TERM");
}

/// Known on Linux only.
fn catches_sigterm(process: &Child) -> bool {
    const SIGTERM: u64 = 1 << (15 - 1);
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", process.id())) else {
        return true;
    };
    if status.contains("State:\tZ") {
        // It has ended already; its waiter learns why.
        return true;
    }
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_none_or(|mask| mask & SIGTERM != 0)
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
