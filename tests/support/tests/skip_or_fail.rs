//! A test without its server is skipped by name and counted, or fails where servers are required.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use mamey_test_support::{redis, require};
use tempfile::TempDir;

const TEST: &str = "a_test_with_its_server_goes_on";
const URL: &str = "MAMEY_TEST_REDIS_URL";
const WENT_ON: &str = "the test went on";

#[tokio::test]
async fn a_test_with_its_server_goes_on() {
    let prefix = require!(redis::prefix().await);
    println!("{WENT_ON}");
    assert!(prefix.key("order").ends_with(":order"));
}

/// The test above, run in a process of its own, with this environment and no other of ours.
struct Run {
    folder: TempDir,
    output: Output,
}

impl Run {
    fn with(environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env_remove("CI")
            .env_remove("MAMEY_REQUIRE_SERVERS")
            .env_remove(URL)
            .env("MAMEY_SKIPPED_TESTS_FILE", folder.path().join("skipped-tests"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Self { folder, output }
    }

    fn noted(&self) -> String {
        fs::read_to_string(self.folder.path().join("skipped-tests")).unwrap_or_default()
    }

    fn printed(&self) -> String {
        let output = [self.output.stdout.as_slice(), self.output.stderr.as_slice()].concat();
        String::from_utf8(output).unwrap()
    }

    fn was_skipped(&self, why: &str) {
        let printed = self.printed();
        assert!(self.output.status.success(), "{printed}");
        assert!(!printed.contains(WENT_ON), "{printed}");
        let line = format!("skip_or_fail::{TEST}: {why}");
        assert!(printed.contains(&format!("skipped: {line}")), "{printed}");
        assert!(self.noted().starts_with(&line), "{}", self.noted());
        assert_eq!(self.noted().lines().count(), 1);
    }

    fn has_failed(&self, why: &str) {
        let printed = self.printed();
        assert!(!self.output.status.success(), "{printed}");
        assert!(printed.contains(why), "{printed}");
        assert_eq!(self.noted(), "");
    }
}

/// A URL at which nobody answers.
fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("redis://:s3cret@{}/0", listener.local_addr().unwrap())
}

#[test]
fn without_its_url_a_test_is_skipped() {
    Run::with(&[]).was_skipped(&format!("{URL} is not set"));
    Run::with(&[(URL, "")]).was_skipped(&format!("{URL} is not set"));
    Run::with(&[("CI", "false"), ("MAMEY_REQUIRE_SERVERS", "0")]).was_skipped(URL);
}

#[test]
fn without_its_server_a_test_is_skipped() {
    let run = Run::with(&[(URL, &dead_url())]);
    run.was_skipped("Redis does not answer at redis://:***@127.0.0.1:");
    assert!(!run.printed().contains("s3cret"));
}

#[test]
fn where_servers_are_required_it_fails_and_names_the_fix() {
    for required in [("CI", "true"), ("MAMEY_REQUIRE_SERVERS", "1")] {
        let run = Run::with(&[required]);
        run.has_failed(&format!("{URL} is not set"));
        assert!(run.printed().contains("./dev servers up"));

        let run = Run::with(&[required, (URL, &dead_url())]);
        run.has_failed("Redis does not answer");
        assert!(run.printed().contains(URL));
        assert!(run.printed().contains("./dev servers up"));
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_a_failure_everywhere() {
    let prefix = require!(redis::prefix().await);
    let (_, host) = prefix.url().rsplit_once('@').unwrap();
    let run = Run::with(&[(URL, &format!("redis://:wrong@{host}"))]);
    run.has_failed("Redis did not let us in");
    Run::with(&[(URL, "redis")]).has_failed("not a URL");
}

#[test]
fn the_suite_ends_with_what_was_skipped() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/dev/skipped.sh");
    let summary = |file: &Path| {
        let output = Command::new(&script).arg(file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let run = Run::with(&[]);
    let file = run.folder.path().join("skipped-tests");
    let one = summary(&file);
    assert!(one.starts_with(&format!("== 1 test was skipped\n   {URL} is not set")), "{one}");
    assert!(one.ends_with(&format!("\n      skip_or_fail::{TEST}\n")), "{one}");

    fs::write(&file, "b::y: off: 1\na::x: off: 1\nc: gone\n").unwrap();
    let expected = "== 3 tests were skipped\n   gone\n      c\n   off: 1\n      a::x\n      b::y\n";
    assert_eq!(summary(&file), expected);
    assert_eq!(summary(&run.folder.path().join("none")), "");
}
