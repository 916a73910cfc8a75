//! The guard: a small process that kills a run's commands when the run's process dies, however
//! that happens. It holds one end of a pipe; the other end closes with the process.

use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// This process's guard, started with its first command.
pub(super) struct Guard {
    command: Option<Vec<String>>,
    child: Mutex<Option<Child>>,
}

impl Guard {
    pub(super) fn new(command: Option<Vec<String>>) -> Self {
        Guard { command, child: Mutex::new(None) }
    }

    /// From now on the group dies with this process.
    pub(super) fn watch(&self, group: Pid) {
        self.tell('+', group);
    }

    /// The group is gone; its number may be used again.
    pub(super) fn forget(&self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&self, sign: char, group: Pid) {
        let Some(command) = &self.command else { return };
        let Ok(mut child) = self.child.lock() else { return };
        if child.is_none() {
            *child = start(command);
        }
        let pipe = child.as_mut().and_then(|child| child.stdin.as_mut());
        let line = format!("{sign}{}\n", group.as_raw_pid());
        if pipe.is_none_or(|pipe| pipe.write_all(line.as_bytes()).is_err()) {
            // A resumed run still finds what is left, by its environment.
            tracing::warn!("no guard: commands may outlive this process if it is killed");
        }
    }
}

fn start(command: &[String]) -> Option<Child> {
    let (program, arguments) = command.split_first()?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not in the terminal's group: a Ctrl-C is not meant for it.
        .process_group(0)
        .spawn()
        .inspect_err(|error| tracing::warn!("cannot start the guard: {error}"))
        .ok()
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(Some(child)) = self.child.get_mut() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// The guard's life: reads `+GROUP` and `-GROUP` lines until the other end closes, then kills the
/// process groups that are left.
pub fn guard(input: impl BufRead) {
    let mut groups = BTreeSet::new();
    for line in input.lines().map_while(Result::ok) {
        let Some(group) = line.get(1..).and_then(|text| text.parse::<i32>().ok()) else { continue };
        if line.starts_with('+') {
            groups.insert(group);
        } else {
            groups.remove(&group);
        }
    }
    for group in groups {
        if let Some(group) = Pid::from_raw(group) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
