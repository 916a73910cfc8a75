//! The daemon: runs when they are due, each once, whoever is killed.

use crate::daemon::Daemon;
use crate::project::{Project, Said, end, signal, wait_until};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

impl Project {
    /// The runs of the history, oldest first.
    fn history(&self) -> Vec<Value> {
        let said = self.tidemill(&["history", "--limit", "1000", "-o", "json"]);
        let mut runs: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_default();
        runs.reverse();
        runs
    }

    fn runs_in(&self, state: &str) -> usize {
        self.history().iter().filter(|run| run["state"] == state).count()
    }

    /// Kills the process of a run that is active, if there is one, and all that it has started.
    fn kill_a_run(&self) -> bool {
        let runs = self.history();
        let running = runs.iter().find(|run| run["state"] == "running");
        let Some(pid) = running.and_then(|run| run["pid"].as_i64()) else { return false };
        // Runs of a daemon lead process groups.
        kill_process_group(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).is_ok()
    }
}

fn every_second(rest: &str, run: &str) -> String {
    format!(
        "name: p\nschedule: {{every: 1s{rest}}}\ntasks:\n  a:\n    uses: shell\n    \
         with: {{run: '{run}'}}\n"
    )
}

/// Each interval once, one after the other.
fn assert_contiguous(runs: &[Value]) {
    for pair in runs.windows(2) {
        assert_eq!(pair[0]["interval_end"], pair[1]["interval_start"], "{runs:#?}");
    }
}

#[test]
fn runs_are_made_when_they_are_due_and_a_changed_file_takes_effect() {
    let project = Project::new();
    project.write("pipelines/p.yaml", &every_second("", "echo ${{ interval.start }} >> a.txt"));
    let daemon = Daemon::start(&project, &[]);
    wait_until("three runs", || project.runs_in("succeeded") >= 3);
    // A file that breaks changes nothing, and is complained about.
    let broken = every_second("", "echo b").replace("uses: shell", "uses: shel");
    project.write("pipelines/p.yaml", &broken);
    wait_until("the problem", || project.read("daemon.log").contains("`shel`"));
    let before = project.runs_in("succeeded");
    wait_until("runs of the last valid version", || project.runs_in("succeeded") >= before + 2);
    assert!(project.read("daemon.log").contains("its last valid version goes on"));
    project.write("pipelines/p.yaml", &every_second("", "echo b >> b.txt"));
    wait_until("a run of the new version", || project.read("b.txt").contains('b'));
    // A file that is gone makes no runs.
    std::fs::remove_file(project.path("pipelines/p.yaml")).unwrap();
    project.write("pipelines/q.yaml", "name: q\ntasks: {a: {uses: shell, with: {run: 'true'}}}\n");
    wait_until("the file is new", || project.read("daemon.log").contains("q has no schedule"));
    let known = project.history().len();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(project.history().len() <= known + 1);
    daemon.stop();
    wait_until("the last one has ended", || project.runs_in("running") == 0);
    let runs = project.history();
    assert!(runs.iter().all(|run| run["trigger"] == "schedule"), "{runs:#?}");
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    assert_contiguous(&runs);
    let starts: Vec<String> = project.read("a.txt").lines().map(str::to_owned).collect();
    let mut once = starts.clone();
    once.dedup();
    assert_eq!(starts, once);
}

#[test]
fn each_interval_is_run_once_whoever_is_killed() {
    let project = Project::new();
    let run = "sleep 0.4; echo done >> done.txt";
    project.write("pipelines/p.yaml", &every_second(", catch_up: all", run));
    let mut daemon = Daemon::start(&project, &[]);
    for round in 1..=12 {
        wait_until("another run", || project.history().len() >= round);
        if round % 3 == 0 {
            wait_until("a run to kill", || project.kill_a_run());
        } else {
            daemon.kill();
            daemon = Daemon::start(&project, &[]);
        }
    }
    // What is queued and resumed is worked off, while the next ones are due.
    wait_until("all is done", || {
        let runs = project.history();
        runs.len() > 14 && runs[..14].iter().all(|run| run["state"] == "succeeded")
    });
    // What waits at the end keeps its interval, although the next one is due an hour later.
    let slow = every_second(", catch_up: all", run).replace("every: 1s", "every: 1h");
    project.write("pipelines/p.yaml", &slow);
    wait_until("the change takes effect", || project.read("daemon.log").contains("every hour"));
    wait_until("the last ones have ended", || {
        let due = project.ok(&["schedule"]).out;
        let runs = project.history();
        !due.contains("waits") && runs.iter().all(|run| run["state"] == "succeeded")
    });
    daemon.stop();
    let runs = project.history();
    assert_contiguous(&runs);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    assert!(project.read("done.txt").lines().count() >= runs.len());
}

#[test]
fn each_interval_is_run_once_wherever_a_decision_is_cut_off() {
    let project = Project::new();
    project.write("pipelines/p.yaml", &every_second(", catch_up: all", "echo done >> done.txt"));
    for point in ["fires.before_commit", "fires.after_commit"] {
        for nth in 1..=3 {
            let failpoint = [("TIDEMILL_FAILPOINT", format!("{point}:{nth}"))];
            let mut daemon = Daemon::start_with(&project, &[], failpoint);
            wait_until("the daemon is killed", || daemon.0.try_wait().unwrap().is_some());
        }
    }
    let before = project.history().len();
    let daemon = Daemon::start(&project, &[]);
    wait_until("what is queued and resumed is worked off", || {
        let runs = project.history();
        runs.len() >= before + 3 && runs[..=before].iter().all(|run| run["state"] == "succeeded")
    });
    daemon.stop();
    wait_until("the last one has ended", || project.runs_in("running") == 0);
    assert_contiguous(&project.history());
}

#[test]
fn what_becomes_of_active_runs_when_the_daemon_stops() {
    let check = |on_stop: &str, when_stopped: &str, at_last: &str| {
        let project = Project::new();
        let run = "touch begun; while ! test -e go; do sleep 0.05; done";
        project.write("pipelines/p.yaml", &every_second("", run));
        let mut daemon = Daemon::start(&project, &["--on-stop", on_stop]);
        wait_until("the task begins", || project.path("begun").exists());
        let first = |state: &str| project.history()[0]["state"] == state;
        signal(&daemon.0, Signal::TERM);
        wait_until("it stops", || project.read("daemon.log").contains("stops; active runs: 1"));
        if on_stop == "wait" {
            std::thread::sleep(Duration::from_millis(500));
            assert!(daemon.0.try_wait().unwrap().is_none(), "it has not waited");
            project.write("go", "");
        }
        assert!(daemon.0.wait().unwrap().success());
        assert!(first(when_stopped), "{on_stop}");
        project.write("go", "");
        wait_until("it ends", || first(at_last));
    };
    check("leave", "running", "succeeded");
    check("wait", "succeeded", "succeeded");
    check("cancel", "cancelled", "cancelled");
}

#[test]
fn overlap_and_pause() {
    let project = Project::new();
    project.write("pipelines/p.yaml", &every_second(", overlap: skip", "sleep 2.5"));
    let daemon = Daemon::start(&project, &[]);
    wait_until("two runs", || project.runs_in("succeeded") >= 2);
    let log = project.read("daemon.log");
    assert!(log.contains("an earlier run was still active, and `overlap` is `skip`"), "{log}");
    let due = project.ok(&["schedule"]).out;
    assert!(due.contains("not run: an earlier run was still active"), "{due}");
    project.ok(&["pause", "pipelines/p.yaml"]);
    assert!(project.ok(&["schedule"]).out.contains("paused; `tidemill unpause"));
    wait_until("none is active", || project.runs_in("running") == 0);
    wait_until("it is paused", || project.read("daemon.log").contains("the schedule was paused"));
    let known = project.history().len();
    project.ok(&["unpause", "p"]);
    wait_until("it goes on", || project.history().len() > known);
    daemon.stop();
}

#[test]
fn a_directory_that_is_replaced_is_read_and_watched_again() {
    let project = Project::new();
    let pipeline =
        |name: &str| format!("name: {name}\ntasks: {{a: {{uses: shell, with: {{run: ls}}}}}}\n");
    project.write("pipelines/p.yaml", &pipeline("p"));
    project.write("next/q.yaml", &pipeline("q"));
    let _daemon = Daemon::start(&project, &[]);
    let log = |words: &str| project.read("daemon.log").contains(words);
    wait_until("the first", || log("p has no schedule"));
    std::fs::rename(project.path("pipelines"), project.path("before")).unwrap();
    wait_until("it is missed", || log("the pipelines stay as they were"));
    std::fs::rename(project.path("next"), project.path("pipelines")).unwrap();
    wait_until("the second", || log("q has no schedule"));
    project.write("pipelines/r.yaml", &pipeline("r"));
    wait_until("a file of the second", || log("r has no schedule"));
}

#[test]
fn systemd_and_programs_are_told() {
    let project = Project::new();
    project.write("pipelines/p.yaml", &every_second("", "true"));
    let socket = UnixDatagram::bind(project.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    };
    let log = File::create(project.path("daemon.log")).unwrap();
    let mut command =
        project.command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.env("NOTIFY_SOCKET", project.path("notify")).stdout(Stdio::null()).stderr(log);
    let daemon = Daemon(command.spawn().unwrap());
    assert_eq!(told(), "READY=1");
    wait_until("a run", || project.runs_in("succeeded") >= 1);
    daemon.stop();
    assert_eq!(told(), "STOPPING=1");
    for line in project.read("daemon.log").lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(event["message"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn one_daemon_for_a_data_directory() {
    let project = Project::new();
    project.write("pipelines/p.yaml", "name: p\ntasks: {a: {uses: shell, with: {run: 'true'}}}\n");
    let daemon = Daemon::start(&project, &[]);
    wait_until("it is there", || project.read("daemon.log").contains("p has no schedule"));
    wait_until("it works", || project.read("daemon.log").contains("with a schedule: 0"));
    let second: Said = end(project.start(&["serve"]));
    assert_eq!(second.code, Some(1), "{second:?}");
    let words = format!("process {} is the daemon of", daemon.id());
    assert!(second.err.contains(&words), "{second:?}");
    daemon.stop();
    let none = project.tidemill(&["serve", "nowhere"]);
    assert!(none.err.contains("there is no directory `nowhere`"), "{none:?}");
    let said = project.tidemill(&["pause", "pipelines/p.yaml"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("`p` has no schedule"), "{said:?}");
    // A daemon that was stopped leaves nothing behind that disturbs the next one.
    let again = Daemon::start(&project, &[]);
    wait_until("it works", || {
        project.read("daemon.log").matches("ready: http://127.0.0.1:").count() == 2
    });
    again.stop();
}
