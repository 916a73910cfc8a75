//! Runs for many intervals of the past: each once, whatever happens in between.

use crate::project::{Project, signal, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fails on one day until there is a file `mended`.
const NIGHTLY: &str = "
name: nightly
schedule: {cron: '@daily', timezone: Europe/Berlin}
tasks:
  a:
    uses: shell
    with:
      run: |
        test ${{ interval.date }} != 2026-10-26 || test -e mended
        sleep 0.2
        echo ${{ interval.start }} >> done.txt
";

impl Project {
    /// The states of the runs of each interval, by its start.
    fn states_by_interval(&self) -> BTreeMap<String, Vec<String>> {
        let said = self.tidemill(&["history", "--limit", "1000", "-o", "json"]);
        let runs: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_default();
        let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for run in runs {
            let text = |key: &str| run[key].as_str().unwrap().to_owned();
            states.entry(text("interval_start")).or_default().push(text("state"));
        }
        states
    }
}

#[test]
fn a_backfill_makes_a_run_for_each_interval_and_later_what_is_missing() {
    let project = Project::new();
    project.write("n.yaml", NIGHTLY);
    let days = ["backfill", "n.yaml", "--from", "2026-10-24", "--to", "2026-10-27"];
    let dry = project.ok(&[&days[..], &["--dry-run"]].concat()).out;
    assert_eq!(dry.matches("a new run").count(), 4, "{dry}");
    assert!(project.states_by_interval().is_empty());

    let said = project.tidemill(&[&days[..], &["--parallel", "2"]].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("nightly: 1 failed, 3 succeeded"), "{said:?}");
    let starts: Vec<String> = project.states_by_interval().into_keys().collect();
    // The day on which the clocks go back is an hour longer.
    let expect = ["23T22", "24T22", "25T23", "26T23"];
    assert_eq!(starts, expect.map(|at| format!("2026-10-{at}:00:00Z")));

    project.write("mended", "");
    let said = project.ok(&[&days[..], &["--missing-only"]].concat());
    assert_eq!(said.out.matches("left out: run").count(), 3, "{said:?}");
    assert!(said.out.contains("nightly: 1 succeeded"), "{said:?}");
    let again = project.ok(&[&days[..], &["--missing-only"]].concat()).out;
    assert_eq!(again.matches("left out: run").count(), 4, "{again}");

    let check = |arguments: &[&str], expect: &str| {
        let said = project.tidemill(arguments);
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains(expect), "{said:?}");
    };
    check(
        &["backfill", "n.yaml", "--from", "2026-10-05", "--to", "2026-10-04"],
        "is before --from",
    );
    check(&["backfill", "n.yaml", "--from", "2999-01-01"], "no interval of the pipeline begins");
    check(&["backfill", "n.yaml", "--from", "yesterday"], "--from");
    check(&["backfill", "none.yaml", "--from", "2026-10-05"], "none.yaml");
}

#[test]
fn a_backfill_that_was_killed_or_stopped_goes_on_later() {
    let project = Project::new();
    project.write("n.yaml", NIGHTLY);
    project.write("mended", "");
    let days =
        ["backfill", "n.yaml", "--from", "2026-10-01", "--to", "2026-10-12", "--missing-only"];
    let ended = |state: &str| {
        project.states_by_interval().values().flatten().filter(|known| *known == state).count()
    };
    let mut killed = project.start(&days);
    wait_until("some runs", || ended("succeeded") >= 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_until("its last run goes on by itself", || ended("running") == 0);
    let before = ended("succeeded");
    let mut stopped = project.start(&days);
    wait_until("more runs", || ended("succeeded") > before);
    signal(&stopped, Signal::INT);
    assert_eq!(stopped.wait().unwrap().code(), Some(130));
    assert_eq!(ended("running"), 0);
    project.ok(&days);
    let states = project.states_by_interval();
    assert_eq!(states.len(), 12, "{states:?}");
    let mut cancelled = 0;
    for (start, states) in states {
        let count = |wanted: &str| states.iter().filter(|state| *state == wanted).count();
        assert_eq!(count("succeeded"), 1, "{start}: {states:?}");
        cancelled += count("cancelled");
    }
    // The command of a run that was cancelled may have done its work just before.
    let done = project.read("done.txt").lines().count();
    assert!((12..=12 + cancelled).contains(&done), "{done} lines, {cancelled} cancelled");
}

#[test]
fn a_backfill_holds_no_other_run_back() {
    let project = Project::new();
    project
        .write("n.yaml", &NIGHTLY.replace("sleep 0.2", "while ! test -e go; do sleep 0.05; done"));
    let mut slow =
        project.start(&["backfill", "n.yaml", "--from", "2026-10-01", "--to", "2026-10-01"]);
    let running =
        || project.states_by_interval().values().flatten().any(|state| state == "running");
    wait_until("it runs", running);
    project.write("n.yaml", NIGHTLY);
    project.ok(&["run", "n.yaml"]);
    assert!(slow.try_wait().unwrap().is_none());
    project.write("go", "");
    assert!(slow.wait().unwrap().success());
}
