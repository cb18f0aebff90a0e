//! Servers of a test's own, to be killed and starved: nobody else talks to them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::target_folder;
use crate::report::report;

/// Starts a server for one test alone, in the target folder under `folder`, and stops it when this
/// is dropped. Takes some ten seconds, and longer for a cluster.
///
/// # Panics
///
/// Where it cannot be started: the machine that runs the suite can.
#[must_use]
pub fn own(folder: &str, server: &'static str) -> OwnServers {
    let servers = OwnServers { folder: target_folder().join(folder), server };
    // What a killed run left.
    servers.act(&["down"]);
    servers.act(&["up", server]);
    servers
}

/// The servers of one test, which are stopped when this is dropped.
#[derive(Debug)]
pub struct OwnServers {
    folder: PathBuf,
    server: &'static str,
}

impl OwnServers {
    /// The URL, or the URLs, that `./dev servers env` calls so.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn url(&self, variable: &str) -> String {
        let printed = self.act(&["env", self.server]);
        let value = printed.lines().find_map(|line| {
            let value = line.strip_prefix("export ")?.strip_prefix(variable)?.strip_prefix('=')?;
            Some(value.trim_matches('\'').to_owned())
        });
        value.unwrap_or_else(|| panic!("there is no {variable} in: {printed}"))
    }

    /// SIGKILL to a node, as when power fails.
    pub fn kill(&self, node: &str) {
        self.act(&["kill", node]);
    }

    /// Starts a killed node on its own data, and waits until it answers.
    pub fn resume(&self, node: &str) {
        self.act(&["resume", node]);
    }

    /// What RabbitMQ's own tool says of a node.
    pub fn rabbitmqctl(&self, node: &str, arguments: &[&str]) -> String {
        self.act(&[&["rabbitmqctl", node], arguments].concat())
    }

    fn act(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("./dev runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "./dev servers {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev"));
        let mut command = Command::new(script);
        for (name, _) in std::env::vars_os() {
            // They name the servers that all tests share.
            if name.to_string_lossy().starts_with("MAMEY_TEST_") {
                command.env_remove(name);
            }
        }
        command.arg("servers").args(arguments).env("MAMEY_SERVERS_DIR", &self.folder);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for OwnServers {
    fn drop(&mut self) {
        match self.command(&["down"]).output() {
            Ok(output) if output.status.success() => {}
            _ => report(&format!("servers in {} stay up", self.folder.display())),
        }
    }
}
