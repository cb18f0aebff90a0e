//! The suite's own tests: correct builds pass, and each law that is broken on purpose is caught.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::process::{Command, Output};

use mamey_test_support::{postgres, require};
use serde_json::Value;

/// A broken law must show within so many rounds; the suite ends with the first that shows it.
const ROUNDS_UNTIL_CAUGHT: &str = "12";

struct Suite {
    output: Output,
}

impl Suite {
    fn run(arguments: &[&str]) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_mamey-crash")).args(arguments).output();
        Self { output: output.unwrap() }
    }

    /// With one law broken and one kind of fault.
    fn breaking(law: &str, fault: &str) -> Self {
        let rounds = ["--rounds", ROUNDS_UNTIL_CAUGHT, "--seed", "1", "--patience-s", "8"];
        Self::run(&[&rounds[..], &["--broken-law", law, "--faults", fault]].concat())
    }

    fn printed(&self) -> String {
        let output = [self.output.stdout.as_slice(), self.output.stderr.as_slice()].concat();
        String::from_utf8(output).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        let printed = String::from_utf8(self.output.stdout.clone()).unwrap();
        let line: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        line[name].as_u64().unwrap()
    }

    fn broke_nothing(&self) {
        assert_eq!(self.output.status.code(), Some(0), "{}", self.printed());
        for law in ["lost", "duplicate_effects", "out_of_order", "stuck"] {
            assert_eq!(self.count(law), 0, "{}", self.printed());
        }
    }

    /// The suite names the broken law, and prints the history of a key.
    fn caught(&self, law: &str) {
        assert_eq!(self.output.status.code(), Some(1), "{}", self.printed());
        assert!(self.count(law) > 0, "{}", self.printed());
        assert!(self.printed().contains("history of a"), "{}", self.printed());
    }
}

#[test]
fn every_kind_of_fault_on_the_embedded_pair_breaks_nothing() {
    let suite = Suite::run(&["--rounds", "12", "--transfers", "40"]);
    suite.broke_nothing();
    assert!(suite.count("messages") > 12 * 40 * 4, "{}", suite.printed());
}

#[tokio::test]
async fn faults_on_postgres_break_nothing() {
    let database = require!(postgres::database().await);
    let url = ["--store", "postgres", "--store-url", database.url()];
    let suite = Suite::run(&[&url[..], &["--rounds", "4", "--transfers", "24"]].concat());
    suite.broke_nothing();
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    Suite::breaking("ack-before-commit", "kill").caught("lost");
}

#[test]
fn a_record_deleted_before_the_confirm_is_caught() {
    Suite::breaking("delete-before-confirm", "kill").caught("lost");
}

#[test]
fn an_epoch_that_is_ignored_is_caught() {
    Suite::breaking("epoch-ignored", "late-delete").caught("lost");
}

#[test]
fn a_parked_key_that_is_not_checked_is_caught() {
    Suite::breaking("parked-key-unchecked", "kill").caught("out_of_order");
}

#[test]
fn an_unknown_fault_is_named_with_the_known_ones() {
    let suite = Suite::run(&["--faults", "cut-store"]);
    assert_eq!(suite.output.status.code(), Some(2));
    let printed = suite.printed();
    assert!(printed.contains("`cut-store`") && printed.contains("clock-jump"), "{printed}");
}
