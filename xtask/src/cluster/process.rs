//! Processes that outlive the one that started them, known by their pid files.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// A pid alone may have been given to another process since; with the time it started it is unique
/// until the machine restarts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pid: u32,
    /// Field 22 of proc_pid_stat(5), in clock ticks after boot.
    started: u64,
}

impl Process {
    pub(super) fn of(pid: u32) -> Option<Process> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Process { pid, started: started(&text)? })
    }

    /// The process of a pid file, if it lives.
    pub(super) fn living(file: &Path) -> Option<Process> {
        let process = parse(&std::fs::read_to_string(file).ok()?)?;
        process.is_alive().then_some(process)
    }

    pub(super) fn write(self, file: &Path) -> Result<()> {
        std::fs::write(file, format!("{} {}\n", self.pid, self.started))
            .with_context(|| format!("cannot write `{}`", file.display()))
    }

    pub(super) fn pid(self) -> u32 {
        self.pid
    }

    pub(super) fn is_alive(self) -> bool {
        Process::of(self.pid) == Some(self)
    }

    pub(super) fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_alive()) {
            // It may have died just now, which is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its resident memory.
    pub(super) fn memory_mib(self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    }
}

fn parse(text: &str) -> Option<Process> {
    let (pid, started) = text.trim().split_once(' ')?;
    Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

/// When a process started; none for a zombie, which has ended and only waits for its parent.
fn started(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold spaces and parentheses itself.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_pid_and_start() {
        assert_eq!(parse("123 456\n"), Some(Process { pid: 123, started: 456 }));
        for text in ["", "123", "123 ", "x 456", "123 456 789"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_start_is_read_after_the_name() {
        let stat = |state| {
            format!("7 (a) b (c) {state} 1 7 7 0 -1 4194304 9 0 0 0 1 1 0 0 20 0 34 0 98765 1 2 3")
        };
        assert_eq!(started(&stat("S")), Some(98765));
        assert_eq!(started(&stat("Z")), None);
        assert_eq!(started("7 (cut"), None);
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_ours() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
        assert!(own.memory_mib() > 0);
    }

    #[test]
    fn a_child_that_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        process.write(file.path()).unwrap();
        assert_eq!(Process::living(file.path()), Some(process));
        process.signal(Signal::KILL);
        while process.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(Process::living(file.path()), None);
        child.wait().unwrap();
    }
}
