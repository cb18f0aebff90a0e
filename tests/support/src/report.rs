//! Says what a person has to see even if the test passes.

use std::env;
use std::fs::File;
use std::io::{self, Write};

/// The file that gets a line for each note; `./dev test` sets it and prints it at the end.
const NOTES_FILE_VARIABLE: &str = "MAMEY_CONFORMANCE_REPORT_FILE";

/// Notes what a test has counted, for whoever ran the suite.
///
/// # Panics
///
/// Where the file for it cannot be written.
pub fn note(subject: &str, line: &str) {
    let line = format!("{subject}: {line}");
    report(&line);
    if let Some(path) = env::var_os(NOTES_FILE_VARIABLE) {
        let file = File::options().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.expect("the note is written");
    }
}

/// One line to standard error itself: the test harness swallows what `eprintln!` writes in a test
/// that passes.
pub(crate) fn report(line: &str) {
    // There is nowhere left to complain if this fails.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
