//! A command's processes: starting, listening, stopping, and finding what is left of them.

use super::guard::Guard;
use orchestrator::attempt::TaskError;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Longer lines of output are cut into pieces of this size.
const LINE_LIMIT: usize = 16 * 1024;

/// How long to listen for what is left in the pipes once all processes are gone.
const DRAIN: Duration = Duration::from_secs(2);

/// A command that runs, as the leader of a process group.
pub(super) struct Running {
    child: Child,
    group: Pid,
    guard: Arc<Guard>,
    stdout: JoinHandle<Option<String>>,
    stderr: JoinHandle<Option<String>>,
}

/// How a command ended.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// The last line it printed to standard error.
    pub(super) last_error: Option<String>,
}

impl Running {
    pub(super) fn start(mut command: Command, guard: Arc<Guard>) -> Result<Self, TaskError> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| TaskError::io(format!("cannot start `{program}`"), &error))?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = id.ok_or_else(|| TaskError::transient("the command was gone at once"))?;
        guard.watch(group);
        let span = tracing::Span::current();
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let say_out = |line: &str| tracing::info!(target: "stdout", "{line}");
        let say_err = |line: &str| tracing::info!(target: "stderr", "{line}");
        let stdout = tokio::spawn(listen(stdout, say_out).instrument(span.clone()));
        let stderr = tokio::spawn(listen(stderr, say_err).instrument(span));
        Ok(Running { child, group, guard, stdout, stderr })
    }

    /// Waits for the end; when cancelled, asks for it with SIGTERM and, after `grace`, forces it.
    pub(super) async fn wait(
        &mut self,
        cancel: &CancellationToken,
        grace: Duration,
    ) -> Result<Ended, TaskError> {
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = cancel.cancelled() => {
                tracing::info!("asking the command to stop");
                let _ = kill_process_group(self.group, Signal::TERM);
                match tokio::time::timeout(grace, self.child.wait()).await {
                    Ok(status) => status,
                    Err(_) => {
                        tracing::warn!("the command did not stop in {grace:?}, killing it");
                        let _ = kill_process_group(self.group, Signal::KILL);
                        self.child.wait().await
                    }
                }
            }
        };
        // Whatever the command left in the background ends with it.
        let _ = kill_process_group(self.group, Signal::KILL);
        self.guard.forget(self.group);
        let status =
            status.map_err(|error| TaskError::io("cannot wait for the command", &error))?;
        let _ = tokio::time::timeout(DRAIN, &mut self.stdout).await;
        let last_error = tokio::time::timeout(DRAIN, &mut self.stderr).await;
        let last_error = last_error.ok().and_then(Result::ok).flatten();
        Ok(Ended { code: status.code(), signal: status.signal(), last_error })
    }
}

impl Drop for Running {
    /// An attempt that is dropped before its end takes its processes along.
    fn drop(&mut self) {
        if self.child.id().is_some() {
            let _ = kill_process_group(self.group, Signal::KILL);
            self.guard.forget(self.group);
        }
        self.stdout.abort();
        self.stderr.abort();
    }
}

/// Says each line; returns the last one that is not blank.
async fn listen(pipe: impl AsyncRead + Unpin, say: impl Fn(&str)) -> Option<String> {
    let mut reader = BufReader::with_capacity(LINE_LIMIT, pipe);
    let mut line = Vec::new();
    let mut last = None;
    loop {
        let (taken, ended) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(buffer) => {
                let room = &buffer[..buffer.len().min(LINE_LIMIT - line.len())];
                match room.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        line.extend_from_slice(&room[..end]);
                        (end + 1, true)
                    }
                    None => {
                        line.extend_from_slice(room);
                        (room.len(), line.len() == LINE_LIMIT)
                    }
                }
            }
        };
        reader.consume(taken);
        if ended {
            say_line(&mut line, &say, &mut last);
        }
    }
    if !line.is_empty() {
        say_line(&mut line, &say, &mut last);
    }
    last
}

fn say_line(line: &mut Vec<u8>, say: &impl Fn(&str), last: &mut Option<String>) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    say(text);
    if !text.trim().is_empty() {
        *last = Some(text.trim().to_owned());
    }
    line.clear();
}

/// Kills what is left of earlier attempts at a task: processes that carry its name in their
/// environment, whatever group or session they are in. Returns when none is left.
pub(super) fn kill_leftovers(run: &str, task: &str) -> Result<(), TaskError> {
    let run = format!("TIDEMILL_RUN={run}");
    let task = format!("TIDEMILL_TASK={task}");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = marked(run.as_bytes(), task.as_bytes());
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let message = format!("process {} of an earlier attempt can't be killed", left[0]);
            return Err(TaskError::Transient(message));
        }
        for pid in left {
            tracing::warn!("killing process {pid} of an earlier attempt");
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The living processes whose environment holds both settings.
fn marked(run: &[u8], task: &[u8]) -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            // A zombie's environment is empty, so the dead do not count.
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |wanted| environment.split(|byte| *byte == 0).any(|it| it == wanted);
            has(run) && has(task)
        })
        .collect()
}
