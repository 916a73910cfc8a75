//! `tidemill serve`: the daemon, which makes runs when they are due.
//!
//! One plain loop on one thread (`daemon.rs`) owns the store and decides; others only wait for
//! something, and tell it: that a run's process has ended, that files have changed, that it is to
//! stop, or what somebody wants on the pages, which have a thread of their own. A run is a process
//! of its own and needs no daemon to go on.

mod daemon;
mod desk;
mod pages;
mod pipelines;
mod watch;

use crate::{Common, Format, OK, pipeline, signals};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use daemon::{Daemon, Message};
use desk::Desk;
use orchestrator::store::Store;
use pages::Pages;
use pipelines::Pipelines;
use sd_notify::NotifyState;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use web_ui::Site;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill serve                      the pipelines in the directory `pipelines`
  tidemill serve nightly --profile cluster
  tidemill serve --listen 0.0.0.0:5000 --token-file token
  tidemill schedule                   when runs are due
  tidemill pause ecommerce_nightly    no runs until `tidemill unpause`

A changed file takes effect when it is valid; until then its last valid version goes on. Runs are
processes of their own: the daemon can be stopped and started while they go on, and finds them
again. A run of a schedule whose process died is resumed.")]
pub struct Arguments {
    /// The directory of pipelines
    #[arg(default_value = "pipelines")]
    dir: PathBuf,
    /// Profile of tidemill.yaml [default: the one it names, else embedded]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Where the pages and the API are
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    listen: String,
    /// A file with the token that opens them, of 16 characters or more; needed for addresses that
    /// others can reach
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How the daemon says what it does
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
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

impl Arguments {
    /// Whether the daemon's log is for programs.
    pub fn logs_json(&self) -> bool {
        self.log_format == Format::Json
    }
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let Arguments { dir, profile, listen, token_file, on_stop, .. } = arguments;
    if !dir.is_dir() {
        bail!("there is no directory `{}`; name the directory of your pipelines", dir.display());
    }
    let data_dir = pipeline::data_dir(common, dir)?;
    let store = Store::open(&data_dir)?;
    let _lock = only_daemon(&data_dir)?;
    let token = token_file.as_deref().map(pages::read_token).transpose()?;
    let listener = pages::bind(listen, token.is_some())?;
    let address = listener.local_addr()?;
    // Found once, before a newer one can take its place.
    let program = std::env::current_exe().context("cannot find the program of tidemill")?;
    let (outbox, inbox) = channel();
    let pipelines = Pipelines::load(dir, profile.clone(), outbox.clone());
    let desk = Desk {
        board: pipelines.board(),
        kinds: pipeline::kinds(),
        profile: profile.clone(),
        dir: dir.clone(),
        data_dir: data_dir.clone(),
        program: program.clone(),
        outbox: Mutex::new(outbox.clone()),
    };
    let site = Site::new(data_dir.clone(), pipeline::kinds(), Arc::new(desk), token);
    let site = Arc::new(site);
    let mut daemon =
        Daemon::new(program, data_dir, store, pipelines, outbox.clone(), site.clone())?;
    let pages = Pages::open(site, listener)?;
    signals::each(move || outbox.send(Message::Stop).is_ok())?;
    tell_systemd(NotifyState::Ready);
    daemon.run(&inbox, address, *on_stop);
    tell_systemd(NotifyState::Stopping);
    pages.close();
    Ok(OK)
}

/// Tells systemd, if that has started the daemon and wants to know.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!("cannot tell systemd how the daemon is: {error}");
    }
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
