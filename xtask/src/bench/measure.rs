//! Running a command, with its time and its peak memory.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often its memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A command that has ended well.
pub(super) struct Measured {
    pub(super) seconds: f64,
    /// The peak of its resident memory, as far as it was seen: looked at every few milliseconds.
    pub(super) peak_mib: f64,
    pub(super) out: String,
}

pub(super) fn measure(command: &mut Command) -> Result<Measured> {
    let shown = format!("{command:?}");
    let output = tempfile::tempfile()?;
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let pid = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || {
        let mut peak_kib = 0;
        loop {
            peak_kib = peak_kib.max(high_water_mark(pid));
            if end.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return peak_kib;
            }
        }
    });
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    drop(ended);
    let peak_kib = watcher.join().unwrap_or_default();
    let out = read_back(output)?;
    if !status.success() {
        let last = out.lines().last().unwrap_or_default();
        bail!("{shown} failed: {status}; the last that it printed: {last}");
    }
    Ok(Measured { seconds, peak_mib: peak_kib as f64 / 1024.0, out })
}

/// `VmHWM` of proc(5): the peak of the resident set so far, in KiB.
fn high_water_mark(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn read_back(mut file: std::fs::File) -> Result<String> {
    use std::io::{Read, Seek};
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}
