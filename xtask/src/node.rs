//! What the tests in the browser need from npm.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with the modules that `tests/browser/package.json` names. It is made in `directory`,
/// unless that was done before.
pub(crate) fn modules(root: &Path, directory: &Path) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(root.join("tests/browser/package.json"))
        .context("cannot read tests/browser/package.json")?;
    let directory = directory.join("browser");
    let installed = directory.join("installed.json");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(directory);
    }
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("package.json"), &wanted)?;
    let status = Command::new("npm")
        .args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"])
        .current_dir(&directory)
        .status()
        .context("cannot run npm")?;
    if !status.success() {
        bail!("npm could not install what the tests in the browser need: {status}");
    }
    std::fs::write(installed, wanted)?;
    Ok(directory)
}
