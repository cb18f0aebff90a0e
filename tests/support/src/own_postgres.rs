//! Runs a PostgreSQL server that one test owns, so that it may kill it, pause it and fill its disk.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::name;
use crate::processes::{descendants, is_alive, kill};
use crate::report::report;
use crate::{Error, Result};

const SERVER: &str = "a PostgreSQL of the test's own";

/// Names the folder of PostgreSQL's programs where they are in no usual place.
const PROGRAMS_VARIABLE: &str = "MAMEY_TEST_POSTGRES_PROGRAMS";

/// Where Debian keeps them, a folder for each version.
const DEBIAN_PROGRAMS: &str = "/usr/lib/postgresql";

/// On a disk, and with parents that the server's user may enter, which `/root` is not.
const PARENT: &str = "/var/tmp";

/// No secret: the server listens on loopback alone.
const PASSWORD: &str = "mamey-loopback";

/// How long the server may take to answer, on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the server may take to end; then it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// How often another port is tried, because somebody was faster to take the one that was free.
const PORTS_TRIED_MAX: u32 = 3;

const PAUSE: Duration = Duration::from_millis(20);

/// What the server is like.
#[derive(Default)]
pub struct Plan {
    settings: Vec<String>,
    files: Vec<(String, String)>,
    small_disk_mib: Option<u32>,
}

impl Plan {
    /// A line of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }

    /// A file in the data folder, which only the server may read.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// A disk of its own for all tables that are made by sessions without another wish, and of no
    /// more than this size. The log of transactions stays elsewhere.
    #[must_use]
    pub fn small_disk(mut self, mib: u32) -> Self {
        self.small_disk_mib = Some(mib);
        self
    }

    /// Makes the server and waits until it answers: some seconds.
    ///
    /// To be called on the test's own thread: the server ends with the thread that started it.
    ///
    /// # Errors
    ///
    /// Where its programs are not here, or it does not start; [`Error::NeedsRoot`] for a small disk
    /// without being root.
    pub async fn start(self) -> Result<OwnPostgres> {
        let programs = programs()?;
        sweep();
        let folder = Path::new(PARENT).join(name::fresh());
        let mut server = OwnPostgres {
            programs,
            folder,
            port: 0,
            small_disk_mib: self.small_disk_mib,
            child: None,
        };
        if self.small_disk_mib.is_some() && !is_root() {
            return Err(Error::NeedsRoot { action: "give a server a disk of its own" });
        }
        server.create(&self)?;
        server.start_on_a_free_port().await?;
        if self.small_disk_mib.is_some() {
            server.use_small_disk().await?;
        }
        Ok(server)
    }
}

/// A server that one test owns. It ends, and its data goes, when this is dropped.
pub struct OwnPostgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    small_disk_mib: Option<u32>,
    child: Option<Child>,
}

impl OwnPostgres {
    /// A server without anything special.
    ///
    /// # Errors
    ///
    /// As [`Plan::start`].
    pub async fn start() -> Result<Self> {
        Plan::default().start().await
    }

    /// A URL of its only database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://mamey:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it at once and starts it on its own data, as an administrator does: sessions are ended,
    /// open transactions are undone.
    ///
    /// # Errors
    ///
    /// Where it does not come back.
    pub async fn restart(&mut self) -> Result<()> {
        self.end("INT");
        self.run().await
    }

    /// Kills it and all its sessions, and starts it on its own data, as after a crash.
    ///
    /// # Errors
    ///
    /// Where it does not come back.
    pub async fn crash(&mut self) -> Result<()> {
        self.signal_all("KILL");
        self.end("KILL");
        self.run().await
    }

    /// Stops it in the middle of whatever it does: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Lets it go on after a pause.
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn create(&self, plan: &Plan) -> Result<()> {
        let failed = |error: io::Error| Error::refused(SERVER, "make its folder", error);
        fs::create_dir_all(self.data()).map_err(failed)?;
        fs::create_dir_all(self.disk()).map_err(failed)?;
        fs::write(self.folder.join("password"), PASSWORD).map_err(failed)?;
        self.give_to_server()?;
        let mut initdb = as_server(&self.programs.join("initdb"));
        initdb.arg("-D").arg(self.data());
        initdb.args(["--username", "mamey", "--auth", "scram-sha-256", "--no-sync"]);
        initdb.args(["--locale", "C.UTF-8", "--encoding", "UTF8", "--pwfile"]);
        run(initdb.arg(self.folder.join("password")))?;
        for (name, content) in &plan.files {
            let path = self.data().join(name);
            fs::write(&path, content).map_err(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        }
        let mut settings =
            fs::read_to_string(self.data().join("postgresql.conf")).map_err(failed)?;
        settings.push_str(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             dynamic_shared_memory_type = mmap\nshared_buffers = 16MB\nmax_connections = 60\n",
        );
        for line in &plan.settings {
            settings.push_str(line);
            settings.push('\n');
        }
        fs::write(self.data().join("postgresql.conf"), settings).map_err(failed)?;
        self.give_to_server()
    }

    fn give_to_server(&self) -> Result<()> {
        match is_root() {
            true => run(Command::new("chown").arg("-R").arg("postgres:").arg(&self.folder)),
            false => Ok(()),
        }
    }

    async fn start_on_a_free_port(&mut self) -> Result<()> {
        let mut tried = 0;
        loop {
            self.port = free_port()?;
            tried += 1;
            match self.run().await {
                Err(_) if tried < PORTS_TRIED_MAX => {}
                outcome => return outcome,
            }
        }
    }

    async fn run(&mut self) -> Result<()> {
        let failed = |error: io::Error| Error::refused(SERVER, "start", error);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .map_err(failed)?;
        let child = self
            .command()
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        self.child = Some(child);
        self.until_it_answers().await
    }

    /// The server ends with the thread that starts it, so that a killed test leaves no process. Its
    /// small disk is mounted where nobody else sees it, so that it goes with the server.
    fn command(&self) -> Command {
        let program = self.programs.join("postgres");
        let Some(mib) = self.small_disk_mib else {
            return as_server(&program);
        };
        let script = format!(
            "mount -t tmpfs -o size={mib}m,mode=700 small \"$1\" && chown postgres: \"$1\" \
             && shift && exec {SETPRIV} \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", &script, "sh"]).arg(self.disk()).arg(program);
        command
    }

    async fn until_it_answers(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let connecting = PgConnection::connect(&self.url());
            let why = match tokio::time::timeout(END_TIMEOUT, Box::pin(connecting)).await {
                Ok(Ok(connection)) => {
                    let _ = connection.close().await;
                    return Ok(());
                }
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            let ended =
                self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || began.elapsed() > READY_TIMEOUT {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(Error::refused(SERVER, "answer", format!("{why}; its log: {log}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn use_small_disk(&self) -> Result<()> {
        let failed = |error: sqlx::Error| Error::refused(SERVER, "use its small disk", error);
        let mut admin = PgConnection::connect(&self.url()).await.map_err(failed)?;
        let disk = self.disk();
        for sql in [
            format!("CREATE TABLESPACE small LOCATION '{}'", disk.display()),
            "ALTER ROLE mamey SET default_tablespace = small".to_owned(),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Ends it by a signal to its first process, and waits until it is gone.
    fn end(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let others = descendants(child.id());
        kill(signal, &[child.id()]);
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > END_TIMEOUT {
                kill("KILL", &others);
                let _ = child.kill();
            }
            std::thread::sleep(PAUSE);
        }
        // Sessions that outlive the first process keep the data locked.
        while others.iter().any(|pid| is_alive(*pid)) {
            kill("KILL", &others);
            std::thread::sleep(PAUSE);
        }
    }

    fn signal_all(&self, signal: &str) {
        if let Some(child) = &self.child {
            // The first process first, so that it starts no other meanwhile.
            kill(signal, &[child.id()]);
            kill(signal, &descendants(child.id()));
        }
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.resume();
        self.end("QUIT");
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            report(&format!("{} was left behind: {error}", self.folder.display()));
        }
    }
}

const SETPRIV: &str =
    "setpriv --reuid=postgres --regid=postgres --init-groups --reset-env --pdeathsig=KILL --";

/// PostgreSQL refuses to run as root, so root hands it to the user that its package made.
fn as_server(program: &Path) -> Command {
    let mut words = match is_root() {
        true => SETPRIV,
        false => "setpriv --pdeathsig=KILL --",
    }
    .split(' ');
    let mut command = Command::new(words.next().unwrap_or("setpriv"));
    command.args(words).arg(program);
    command
}

fn programs() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(PROGRAMS_VARIABLE) {
        return Ok(folder.into());
    }
    let versions = fs::read_dir(DEBIAN_PROGRAMS).into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|folder| folder.join("initdb").exists());
    found.sort();
    found.pop().ok_or(Error::Unset { server: SERVER, variable: PROGRAMS_VARIABLE })
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| Error::refused(SERVER, "listen", error))
}

/// Removes what killed tests left.
fn sweep() {
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(name::is_left_over) {
            // Another test's sweep may be faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let action = format!("run {:?}", command.get_program());
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::refused(SERVER, action.clone(), error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::refused(SERVER, action, String::from_utf8_lossy(&output.stderr).into_owned()))
}
