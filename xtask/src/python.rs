//! Tools from PyPI, each in a virtual environment of its own.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of an environment with this version of a package in it. It is made in `directory`,
/// unless that was done before.
pub(crate) fn programs(directory: &Path, package: &str, version: &str) -> Result<PathBuf> {
    let environment = directory.join(format!("{package}-{version}"));
    let programs = environment.join("bin");
    let installed = environment.join("installed");
    if !installed.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let package = format!("{package}=={version}");
        let python = programs.join("python");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]))?;
        std::fs::write(installed, "")?;
    }
    Ok(programs)
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot run {shown} (apt-get install python3-venv?)"))?;
    if status.success() { Ok(()) } else { bail!("{shown} failed: {status}") }
}
