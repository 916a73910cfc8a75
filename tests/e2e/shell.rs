//! Pipelines of shell tasks.

use crate::project::{Project, end, signal, wait_until};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn hello_hands_a_value_on() {
    let project = Project::shipped();
    let said = project.ok(&["run", "pipelines/hello.yaml", "--set", "who=Ada"]);
    assert!(said.out.contains("hello ● succeeded"), "{said:?}");
    let logs = project.ok(&["logs", "latest"]).out;
    assert!(logs.contains("INFO stdout: composing a greeting for Ada"), "{logs}");
    assert!(logs.contains("INFO stdout: hello, Ada"), "{logs}");
}

#[test]
fn a_flaky_task_works_at_its_third_attempt() {
    let project = Project::shipped();
    project.ok(&["run", "pipelines/retries.yaml"]);
    let shown = project.show("latest");
    assert_eq!(shown["tasks"][0]["attempts"], 3);
    assert_eq!(project.states(), ["flaky: succeeded", "work: succeeded", "clean_up: succeeded"]);
}

#[test]
fn a_task_that_never_works_fails_the_run_and_spares_the_clean_up() {
    let project = Project::shipped();
    let said = project.tidemill(&["run", "pipelines/retries.yaml", "--set", "flaky_attempts=9"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("exit code 75: the service does not answer"), "{said:?}");
    assert_eq!(project.states(), ["flaky: failed", "work: upstream_failed", "clean_up: succeeded"]);
    assert_eq!(project.show("latest")["tasks"][0]["attempts"], 4);
    assert_eq!(project.show("latest")["tasks"][1]["reason"], "`flaky` failed");
}

#[test]
fn files_made_side_by_side_are_joined() {
    let project = Project::shipped();
    project.ok(&["run", "pipelines/fan_in.yaml"]);
    assert_eq!(project.read("data/files/total.txt"), "70300\n");
    assert_eq!(project.show("latest")["tasks"][3]["values"], json!({"total": 70300}));
}

#[test]
fn an_exit_code_that_is_not_worth_a_retry_fails_at_once() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shell\n    retry: {attempts: 5, delay: 10ms}\n    \
         with: {run: exit 3, retry_exit_codes: [4]}\n",
    );
    assert_eq!(project.tidemill(&["run", "p.yaml"]).code, Some(1));
    assert_eq!(project.show("latest")["tasks"][0]["attempts"], 1);
}

#[test]
fn a_task_out_of_time_is_stopped_with_all_its_processes() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shell\n    timeout: 300ms\n    with:\n      run: |\n        \
         sleep 987654 &\n        echo $! > child\n        wait\n",
    );
    let said = project.tidemill(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("did not finish within its timeout of 0.3 s"), "{said:?}");
    assert!(!is_running(&project, "child"));
}

#[test]
fn when_and_trigger_rules_decide_what_runs() {
    let project = Project::new();
    project.write(
        "p.yaml",
        r#"
name: p
params: {full: {type: boolean, default: false}}
tasks:
  count: {uses: shell, with: {run: 'echo "{\"rows\": 3}" >> "$TIDEMILL_OUTPUT"'}}
  full: {uses: shell, when: "${{ params.full }}", with: {run: "true"}}
  many: {uses: shell, when: "${{ tasks.count.values.rows > 5 }}", with: {run: "true"}}
  few: {uses: shell, when: "${{ tasks.count.values.rows < 5 }}", with: {run: "true"}}
  behind: {uses: shell, needs: [many], with: {run: "true"}}
  alarm: {uses: shell, needs: [few], trigger_rule: any_failed, with: {run: "true"}}
"#,
    );
    project.ok(&["run", "p.yaml"]);
    assert_eq!(
        project.states(),
        [
            "count: succeeded",
            "full: skipped",
            "many: skipped",
            "few: succeeded",
            "behind: skipped",
            "alarm: skipped"
        ]
    );
}

/// Whether the process whose number a task wrote to a file lives.
fn is_running(project: &Project, file: &str) -> bool {
    let pid: i32 = project.read(file).trim().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie that nobody has waited for yet does not count.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

const LONG: &str = "name: p\ntasks:\n  a:\n    uses: shell\n    with:\n      run: |\n        \
                    [ -e finish ] && exit 0\n        setsid sleep 987654 & echo $! > child\n        \
                    echo started > mark\n        wait\n";

#[test]
fn ctrl_c_ends_a_run_cleanly() {
    let project = Project::new();
    project.write("p.yaml", LONG);
    let run = project.start(&["run", "p.yaml"]);
    wait_until("the task has begun", || !project.read("mark").is_empty());
    signal(&run, Signal::INT);
    let said = end(run);
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(project.states(), ["a: cancelled"]);
    assert_eq!(project.show("latest")["state"], "cancelled");
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_and_its_processes_die() {
    let project = Project::new();
    let stubborn = LONG.replace("setsid ", "").replace("[ -e", "trap '' TERM\n        [ -e");
    project.write("p.yaml", &stubborn);
    let run = project.start(&["run", "p.yaml"]);
    wait_until("the task has begun", || !project.read("mark").is_empty());
    signal(&run, Signal::INT);
    wait_until("the run is being cancelled", || {
        project.tidemill(&["show", "latest", "--events"]).out.contains("cancel_requested")
    });
    signal(&run, Signal::INT);
    assert_eq!(end(run).code, Some(130));
    wait_until("the command's processes are gone", || !is_running(&project, "child"));
    assert_eq!(project.show("latest")["state"], "crashed");
}

#[test]
fn a_killed_run_takes_its_commands_along_and_resumes() {
    let project = Project::new();
    project.write("p.yaml", LONG);
    let mut run = project.start(&["run", "p.yaml"]);
    wait_until("the task has begun", || !project.read("mark").is_empty());
    run.kill().unwrap();
    run.wait().unwrap();
    // The sleep left its process group and session, so the guard does not know it; the resumed
    // run finds it before it starts the next attempt.
    assert!(is_running(&project, "child"));
    project.write("finish", "");
    // An edit on disk changes the next run, never this one.
    project.write("p.yaml", "name: p\ntasks:\n  other: {uses: shell, with: {run: exit 1}}\n");
    project.ok(&["run", "--resume", "latest"]);
    assert!(!is_running(&project, "child"));
    let shown = project.show("latest");
    assert_eq!(project.states(), ["a: succeeded"]);
    assert_eq!(shown["tasks"][0]["attempts"], 2);
}

#[test]
fn cancel_stops_a_run_of_another_process() {
    let project = Project::new();
    project.write("p.yaml", LONG);
    let run = project.start(&["run", "p.yaml"]);
    wait_until("the task has begun", || !project.read("mark").is_empty());
    let said = project.ok(&["cancel", "latest", "--reason", "wrong date"]);
    assert!(said.out.contains("is cancelled"), "{said:?}");
    let said = end(run);
    assert_eq!(said.code, Some(130));
    assert!(said.err.contains("cancelling: wrong date"), "{said:?}");
}

#[test]
fn a_second_run_of_an_active_pipeline_says_so_or_waits() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shell\n    with:\n      run: |\n        echo x >> mark\n        \
         while [ ! -e finish ]; do sleep 0.05; done\n",
    );
    let first = project.start(&["run", "p.yaml"]);
    wait_until("the task has begun", || !project.read("mark").is_empty());
    let second = project.tidemill(&["run", "p.yaml"]);
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.err.contains("of `p` is active"), "{second:?}");
    let waiting = project.start(&["run", "p.yaml", "--wait"]);
    project.write("finish", "");
    assert_eq!(end(first).code, Some(0));
    assert_eq!(end(waiting).code, Some(0));
    assert_eq!(project.read("mark"), "x\nx\n");
}

#[test]
fn several_files_of_one_directory() {
    let project = Project::empty();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shell\n    outputs: {a: file:raw/a.csv, b: file:raw/b.csv}\n    \
         with: {run: 'echo 1 > \"$TIDEMILL_OUTPUT_A\"; echo 2 > \"$TIDEMILL_OUTPUT_B\"'}\n",
    );
    project.ok(&["run", "p.yaml", "--data-dir", "data"]);
    let left = std::fs::read_dir(project.path("data/files/raw")).unwrap();
    let mut left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.csv", "b.csv"]);
}
