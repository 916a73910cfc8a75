//! `tidemill serve`: the daemon, which makes runs when they are due.
//!
//! One plain loop on one thread (`daemon.rs`) owns the store and decides; others only wait for
//! something, and tell it: that a run's process has ended, that files have changed, that it is to
//! stop. A run is a process of its own and needs no daemon to go on.

mod daemon;
mod pipelines;
mod watch;

use crate::{Common, OK, pipeline, signals};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use daemon::{Daemon, Message};
use orchestrator::store::Store;
use pipelines::Pipelines;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill serve                          the pipelines in the directory `pipelines`
  tidemill serve nightly --profile cluster
  tidemill schedule                       when runs are due
  tidemill pause ecommerce_nightly        make no runs of it until `tidemill unpause`

A changed file takes effect when it is valid; until then its last valid version goes on. Runs are
processes of their own: the daemon can be stopped and started while they go on, and finds them
again. A run of a schedule whose process died is resumed.")]
pub struct Arguments {
    /// The directory of pipelines
    #[arg(default_value = "pipelines")]
    dir: PathBuf,
    /// Profile of tidemill.yaml [default: the one it names]
    #[arg(long)]
    profile: Option<String>,
    /// What becomes of active runs when the daemon is stopped
    #[arg(long, value_enum, default_value_t = OnStop::Leave)]
    on_stop: OnStop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnStop {
    /// They go on by themselves
    Leave,
    /// The daemon ends when they have ended
    Wait,
    /// They are cancelled, and the daemon ends when they have ended
    Cancel,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let Arguments { dir, profile, on_stop } = arguments;
    if !dir.is_dir() {
        bail!("there is no directory `{}`; name the directory of your pipelines", dir.display());
    }
    let data_dir = pipeline::data_dir(common, dir)?;
    let store = Store::open(&data_dir)?;
    let _lock = only_daemon(&data_dir)?;
    let (outbox, inbox) = channel();
    let pipelines = Pipelines::load(dir, profile.clone(), outbox.clone());
    let mut daemon = Daemon::new(data_dir, store, pipelines, outbox.clone())?;
    signals::each(move || outbox.send(Message::Stop).is_ok())?;
    daemon.run(&inbox, *on_stop);
    Ok(OK)
}

/// The lock of the daemon of a data directory, held as long as the process lives.
fn only_daemon(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("daemon.lock");
    let doing = || format!("cannot lock `{}`", path.display());
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(doing)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "process {} is the daemon of `{}` already; stop it first, or choose another data \
                 directory with --data-dir",
                pid.trim(),
                data_dir.display()
            );
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(doing),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(doing)?;
    Ok(file)
}
