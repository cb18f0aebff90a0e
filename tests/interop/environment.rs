//! The programs of other languages, installed in the target folder at the versions that are pinned here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use mamey_test_support::{Error, Result, target_folder};

const PYTHON: &str = "Python with pika, cloudevents and Node.js";
const JAVASCRIPT: &str = "the npm package cloudevents";

/// What the JavaScript's folder is made of.
const JAVASCRIPT_FILES: [&str; 3] = ["package.json", "package-lock.json", "sdk.js"];

/// A file of this test.
pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// The Python interpreter, in a virtual environment that has Node.js too.
///
/// # Errors
/// `Missing`, which skips the test, where there is no Python or its packages cannot be fetched.
pub(crate) fn python() -> Result<PathBuf> {
    let requirements = here("requirements.txt");
    let folder = folder();
    let environment = folder.join("venv");
    let python = environment.join("bin/python");
    let wanted = fs::read_to_string(&requirements).unwrap();
    once(&folder.join("python"), &wanted, || {
        run(PYTHON, Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
        let install = ["-m", "pip", "install", "--quiet", "--requirement"];
        run(PYTHON, Command::new(&python).args(install).arg(&requirements))
    })?;
    Ok(python)
}

/// What runs `javascript/sdk.js`.
///
/// # Errors
/// `Missing`, which skips the test, where a package cannot be fetched.
pub(crate) fn javascript() -> Result<Command> {
    let python = python()?;
    let node = |program: &str| python.with_file_name(program);
    let folder = folder().join("javascript");
    let files = JAVASCRIPT_FILES.map(|name| here("javascript").join(name));
    let wanted: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    once(&folder.with_extension("made"), &wanted, || {
        fs::create_dir_all(&folder).unwrap();
        for file in &files {
            fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
        }
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        run(JAVASCRIPT, Command::new(node("npm")).args(install).current_dir(&folder))
    })?;
    let mut command = Command::new(node("node"));
    command.arg(folder.join("sdk.js"));
    Ok(command)
}

fn folder() -> PathBuf {
    let folder = target_folder().join("interop");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Makes something unless it was made of the same before; each test is a process of its own.
fn once(mark: &Path, wanted: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let lock = File::create(mark.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !fs::read_to_string(mark).is_ok_and(|made| made == wanted) {
        make()?;
        fs::write(mark, wanted).unwrap();
    }
    Ok(())
}

fn run(what: &'static str, command: &mut Command) -> Result<()> {
    let missing = |why: String| Error::Missing { what, why };
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Err(missing(String::from_utf8_lossy(&said).trim().to_owned()))
        }
        Err(error) => Err(missing(format!("{:?}: {error}", command.get_program()))),
    }
}
