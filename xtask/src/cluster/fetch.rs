//! Jars, by Maven. What was fetched once is not asked for again.

use super::home::lock;
use super::java::Java;
use super::servers::Library;
use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Its version is pinned like all others.
const GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Puts the jars of a library into a directory of its name, unless they are there.
pub(super) fn fetch(library: &Library, libraries: &Path, java: &Java) -> Result<()> {
    let directory = libraries.join(library.name);
    if is_current(library, &directory) {
        return Ok(());
    }
    let _lock = lock(libraries)?;
    if is_current(library, &directory) {
        return Ok(());
    }
    eprintln!("fetching {} {}", library.name, library.version());
    let start = Instant::now();
    // The directory appears under its name when it is complete.
    let new = libraries.join(format!("{}.new", library.name));
    remove(&new)?;
    std::fs::create_dir_all(&new)?;
    std::fs::write(new.join("pom.xml"), library.pom)?;
    copy_dependencies(&new, java)?;
    remove(&directory)?;
    std::fs::rename(&new, &directory)?;
    let (jars, bytes) = contents(&directory)?;
    eprintln!("{jars} jars, {} MB, {:.0} s", bytes / 1_000_000, start.elapsed().as_secs_f64());
    Ok(())
}

/// The project that the jars were fetched by lies beside them.
fn is_current(library: &Library, directory: &Path) -> bool {
    std::fs::read_to_string(directory.join("pom.xml")).is_ok_and(|pom| pom == library.pom)
}

fn copy_dependencies(directory: &Path, java: &Java) -> Result<()> {
    let mut command = Command::new("mvn");
    java.set_home(&mut command);
    command.args(["--batch-mode", "--quiet", "--file"]).arg(directory.join("pom.xml"));
    command.arg(GOAL).arg("-DincludeScope=runtime");
    command.arg(format!("-DoutputDirectory={}", directory.display()));
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("`mvn` is not on the PATH: `apt-get install maven`")
        }
        output => output.context("cannot run `mvn`")?,
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout);
        bail!("`mvn` could not fetch `{}`:\n{words}", directory.display());
    }
    Ok(())
}

fn contents(directory: &Path) -> Result<(usize, u64)> {
    let (mut jars, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(directory)? {
        jars += 1;
        bytes += entry?.metadata()?.len();
    }
    Ok((jars - 1, bytes))
}

fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::servers::{HADOOP, KAFKA};

    #[test]
    fn jars_of_another_project_are_not_current() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_current(&KAFKA, directory.path()));
        std::fs::write(directory.path().join("pom.xml"), KAFKA.pom).unwrap();
        assert!(is_current(&KAFKA, directory.path()));
        assert!(!is_current(&HADOOP, directory.path()));
    }
}
