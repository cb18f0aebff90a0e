//! A short rehearsal on each pair of store and transport that builds can share.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::process::Command;

use mamey_test_support::{postgres, rabbitmq, require};
use serde_json::Value;

const MESSAGES: u64 = 1200;

/// Plays one round with a seed of its own, which it prints.
fn rehearse(pair: &str) {
    let messages = MESSAGES.to_string();
    let arguments = ["--rounds", "1", "--messages", &messages, "--pairs", pair];
    let output =
        Command::new(env!("CARGO_BIN_EXE_mamey-rehearsal")).args(arguments).output().unwrap();
    let [printed, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(0), "{printed}{errors}");
    let summary: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert!(summary["messages"].as_u64().unwrap() >= MESSAGES / 2, "{printed}");
    for build in ["old", "expanded", "contracted"] {
        assert!(summary["handled_by"][build].as_u64().unwrap() > 0, "{build}: {printed}");
    }
    println!("{printed}");
}

#[tokio::test]
async fn builds_change_side_by_side_on_postgres_and_rabbitmq() {
    drop((require!(postgres::database().await), require!(rabbitmq::vhost().await)));
    rehearse("postgres-rabbitmq");
}

#[tokio::test]
async fn builds_change_side_by_side_on_postgres_alone() {
    drop(require!(postgres::database().await));
    rehearse("postgres-memory");
}

#[tokio::test]
async fn builds_change_in_turn_on_sqlite_and_rabbitmq() {
    drop(require!(rabbitmq::vhost().await));
    rehearse("sqlite-rabbitmq");
}

#[test]
fn builds_change_in_turn_on_sqlite_alone() {
    rehearse("sqlite-memory");
}
