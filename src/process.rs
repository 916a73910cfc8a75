//! The processes of runs that others wait for.

use anyhow::{Context, Result};
use orchestrator::run::ownership::{self, RunLock};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Starts the process of a run whose lock is taken, and hands the lock over to it.
pub fn start(program: &Path, data_dir: &Path, run: &str, lock: RunLock) -> Result<Child> {
    let path = ownership::run_directory(data_dir, run).join("output.log");
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Command::new(program)
        .arg("--data-dir")
        .arg(data_dir)
        .args(["run", "--resume", run, "--locked"])
        .stdin(lock.into_stdin())
        .stdout(output.try_clone().context("cannot share a file with a run")?)
        .stderr(output)
        // Ctrl-C at the daemon's terminal is not for the run.
        .process_group(0)
        .spawn()
        .context("cannot start a process")
}

/// Tells when the run has no process any more: at once, by waiting for its child, or for its lock
/// where another process has started it.
pub fn tell_its_end(
    data_dir: PathBuf,
    run: String,
    child: Option<Child>,
    tell: impl FnOnce(String) + Send + 'static,
) -> Result<()> {
    let name = format!("run {run}");
    let waiting = move || {
        let waited = match child {
            Some(mut child) => child.wait().map(|status| tracing::debug!("run {run}: {status}")),
            None => ownership::wait_for_end(&data_dir, &run),
        };
        if let Err(error) = waited {
            tracing::error!("cannot wait for the end of run {run}: {error}");
        }
        tell(run);
    };
    std::thread::Builder::new().name(name).spawn(waiting).context("cannot start a thread")?;
    Ok(())
}
