//! Where the pages ask the daemon: what is wanted goes to its loop, and the answer comes back.

use super::daemon::Message;
use jiff::Timestamp;
use orchestrator::diagnostic::Problems;
use orchestrator::kind::Kinds;
use orchestrator::load;
use orchestrator::plan::PlanRequest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use web_ui::{Daemon, Inspected, KnownPipeline, Refusal, Start};

/// How long the loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(10);

/// What somebody on the pages wants.
pub(super) enum Order {
    Start(Box<Start>, Answer<String>),
    Resume(String, Answer<()>),
}

/// Where the answer to an order goes. Once who asked was told that none will come, the order is not
/// to be carried out any more.
pub(super) struct Answer<T> {
    sender: SyncSender<Result<T, Refusal>>,
    until: Instant,
}

impl<T> Answer<T> {
    /// Does what is wanted, if it is still wanted.
    pub(super) fn give(self, act: impl FnOnce() -> Result<T, Refusal>) {
        if Instant::now() < self.until {
            // Who has asked may be gone.
            let _ = self.sender.send(act());
        }
    }
}

/// The pipelines as the loop has last seen them.
pub(super) type Board = Arc<Mutex<Arc<Vec<KnownPipeline>>>>;

pub(super) struct Desk {
    pub(super) board: Board,
    pub(super) kinds: Kinds,
    pub(super) profile: Option<String>,
    /// Where the project is that questions are asked in.
    pub(super) dir: PathBuf,
    pub(super) data_dir: PathBuf,
    /// What answers questions: a process of its own, so that the daemon stays small.
    pub(super) program: PathBuf,
    /// A sender is not to be shared between threads without a lock.
    pub(super) outbox: Mutex<Sender<Message>>,
}

impl Desk {
    fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, Refusal> {
        let (sender, wait): (_, Receiver<Result<T, Refusal>>) = sync_channel(1);
        let answer = Answer { sender, until: Instant::now() + PATIENCE };
        let sent = {
            let outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.send(Message::Order(order(answer)))
        };
        let stops = || Refusal::Failed("the daemon is being stopped".to_owned());
        sent.map_err(|_| stops())?;
        // What was begun in time may take a little longer.
        wait.recv_timeout(PATIENCE + GRACE).map_err(|_| {
            Refusal::Failed("the daemon is busy or being stopped; try again".to_owned())
        })?
    }
}

impl Daemon for Desk {
    fn pipelines(&self) -> Arc<Vec<KnownPipeline>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn inspect(&self, path: &Path) -> Result<Inspected, Problems> {
        let request =
            PlanRequest { profile: self.profile.clone(), ..PlanRequest::new(Timestamp::now()) };
        let (definition, plan) = load::inspect(path, &self.kinds, &request)?;
        Ok(Inspected { definition, plan })
    }

    fn first_rows(&self, table: &str, limit: usize) -> Result<Vec<Map<String, Value>>, String> {
        let sql = format!("select * from \"{}\" limit {limit}", table.replace('"', "\"\""));
        let profile = self.profile.iter().flat_map(|profile| ["--profile", profile]);
        let child = Command::new(&self.program)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["query", &sql, "-o", "json", "--uncounted"])
            .args(profile)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a query: {error}"))?;
        let pid = Pid::from_child(&child);
        let (done, wait) = channel::<()>();
        std::thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        drop(done);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or("the query took too long");
            return Err(first.strip_prefix("error: ").unwrap_or(first).to_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    fn start(&self, start: Start) -> Result<String, Refusal> {
        self.ask(|answer| Order::Start(Box::new(start), answer))
    }

    fn resume(&self, run: &str) -> Result<(), Refusal> {
        self.ask(|answer| Order::Resume(run.to_owned(), answer))
    }
}
