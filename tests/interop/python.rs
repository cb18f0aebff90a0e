//! A Python with the clients, in a virtual environment in the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use mamey_test_support::{Error, Result, target_folder};

const WHAT: &str = "Python with pika and cloudevents";

/// The interpreter. The first test that needs it creates the environment.
///
/// # Errors
/// `Missing`, which skips the test, where there is no Python or its packages cannot be fetched.
pub(crate) fn interpreter() -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/requirements.txt");
    let folder = target_folder().join("interop");
    fs::create_dir_all(&folder).unwrap();
    // Each test is a process of its own.
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (environment, made) = (folder.join("venv"), folder.join("made-of"));
    let python = environment.join("bin/python");
    let wanted = fs::read_to_string(&requirements).unwrap();
    if fs::read_to_string(&made).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    let install = ["-m", "pip", "install", "--quiet", "--requirement"];
    run(Command::new(&python).args(install).arg(requirements))?;
    fs::write(made, wanted).unwrap();
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let missing = |why: String| Error::Missing { what: WHAT, why };
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Err(missing(String::from_utf8_lossy(&said).trim().to_owned()))
        }
        Err(error) => Err(missing(format!("{:?}: {error}", command.get_program()))),
    }
}
