//! Runs the quickstart as a process and reads what it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mamey_test_support::example;
use serde::Deserialize;

/// The last line of `--json`, without the count that covers one run only.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Totals {
    pub orders: u64,
    pub paid: u64,
    pub refused: u64,
    pub out_of_stock: u64,
    pub bad_lines: u64,
    pub reserved: u64,
    pub stock_balanced: bool,
    pub published: u64,
    pub handled: u64,
    pub dead_letters: u64,
}

impl Totals {
    /// The totals of a run, which must have succeeded.
    pub fn of(run: &Output) -> Self {
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{}, and it said: {said}", run.status);
        let text = String::from_utf8_lossy(&run.stdout);
        let last = text.lines().last().unwrap_or_else(|| panic!("no output: {run:?}"));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last}"))
    }
}

pub struct Quickstart(Command);

/// The quickstart on a folder, without this process's settings.
pub fn quickstart(folder: &Path) -> Quickstart {
    let mut command = Command::new(example("quickstart"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAMEY_") {
            command.env_remove(name);
        }
    }
    command.arg("--json").arg("--data").arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Quickstart(command)
}

impl Quickstart {
    pub fn orders(mut self, file: &Path) -> Self {
        self.0.arg("--orders").arg(file);
        self
    }

    pub fn context(mut self, name: &str) -> Self {
        self.0.args(["--context", name]);
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn run(mut self) -> Output {
        self.0.output().unwrap()
    }

    pub fn totals(self) -> Totals {
        Totals::of(&self.run())
    }

    /// Starts it; its output is read after it has ended.
    #[cfg(all(feature = "postgres", feature = "rabbitmq"))]
    pub fn start(mut self) -> std::process::Child {
        self.0.spawn().unwrap()
    }

    pub fn spawn(mut self) -> std::process::Child {
        // Its output is not read, and a full pipe would stop it.
        self.0.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

pub fn orders_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart/orders.jsonl")
}

/// Writes the first of the shipped orders into a file of the folder.
pub fn first_orders(folder: &Path, count: usize) -> PathBuf {
    let shipped = std::fs::read_to_string(orders_file()).unwrap();
    let lines: Vec<&str> = shipped.lines().take(count).collect();
    let orders = folder.join("orders.jsonl");
    std::fs::write(&orders, lines.join("\n")).unwrap();
    orders
}
