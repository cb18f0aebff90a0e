//! Runs one case of a suite to its end.

use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::time::timeout;

use crate::absent::{Absent, skip_or_fail};
use crate::report::report;

/// How long a case may take. A message that never arrives must fail the test, not hang it.
const CASE_MAX: Duration = Duration::from_mins(2);

/// Makes a harness, and hands it to `case` unless its server is absent.
#[expect(clippy::expect_used, reason = "a failure must end the test")]
pub(crate) fn to_the_end<H>(
    name: &str,
    harness: impl AsyncFnOnce() -> Result<H, Absent>,
    case: impl AsyncFnOnce(H),
) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        match harness().await {
            Ok(harness) => timeout(CASE_MAX, case(harness)).await.expect("the case takes too long"),
            // The test harness names a test's thread after the test.
            Err(absent) => skip_or_fail(thread::current().name().unwrap_or(name), &absent),
        }
    });
}

/// Reports that a case did not run.
pub(crate) fn report_not_run(backend: &str, case: &str, missing: &str) {
    report(backend, &format!("{case}: did not run, because it needs {missing}"));
}

/// The cases in `files` that a macro's `list` lacks.
#[cfg(test)]
pub(crate) fn unlisted<'f>(list: &str, files: &[&'f str]) -> Vec<&'f str> {
    let words: Vec<&str> = list.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let lines = files.iter().flat_map(|file| file.lines());
    let cases = lines.filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
    cases.filter(|case| !words.contains(case)).collect()
}
