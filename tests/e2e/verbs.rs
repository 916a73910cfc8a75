//! The verbs beside `run`, and what they say when something is wrong.

use crate::project::Project;
use serde_json::Value;
use std::path::Path;

#[test]
fn json_output_is_nothing_but_json() {
    let project = Project::shipped();
    let said = project.ok(&["run", "pipelines/hello.yaml", "-o", "json"]);
    let lines: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(said.err, "");
    assert_eq!(lines[0]["kind"], "run_owned");
    let last = lines.last().unwrap();
    assert_eq!((&last["kind"], &last["state"]), (&"summary".into(), &"succeeded".into()));
    let history: Value = serde_json::from_str(&project.ok(&["history", "-o", "json"]).out).unwrap();
    assert_eq!(history[0]["run"], last["run"]);
}

#[test]
fn validate_and_plan_touch_nothing() {
    let project = Project::shipped();
    let said = project.ok(&["validate", "pipelines/hello.yaml", "pipelines/fan_in.yaml"]);
    assert!(said.out.contains("hello.yaml"), "{said:?}");
    let plan = project.ok(&["plan", "pipelines/fan_in.yaml"]).out;
    for words in ["north", "total", "file:regions/north.csv", "data/files/regions/north.csv"] {
        assert!(plan.contains(words), "{words} is not in:\n{plan}");
    }
    assert!(!project.data().exists());
}

#[test]
fn schedule_says_when_pipelines_are_due() {
    let project = Project::shipped();
    project.write(
        "berlin.yaml",
        "name: berlin\nschedule: {cron: 30 2 * * *, timezone: Europe/Berlin}\n\
         tasks: {a: {uses: shell, with: {run: 'true'}}}\n",
    );
    let said = project.ok(&["schedule", "berlin.yaml", "-n", "2"]).out;
    for words in ["berlin: every day at 02:30 Europe/Berlin", " 03:00 +02:00", " 02:30 +02:00"] {
        assert!(said.contains(words), "{words} is not in:\n{said}");
    }
    assert_eq!(said.matches("the clocks change").count(), 2, "{said}");
    let said = project.ok(&["schedule", "berlin.yaml", "-o", "json"]).out;
    let due: Value = serde_json::from_str(&said).unwrap();
    let next = due[0]["next"].as_array().unwrap();
    assert_eq!(next.len(), 5);
    for pair in next.windows(2) {
        assert_eq!(pair[0]["at"], pair[1]["interval_start"]);
        assert_eq!(pair[1]["at"], pair[1]["interval_end"]);
    }
    // Without a file: the shipped pipelines, with a schedule and without.
    let said = project.ok(&["schedule"]).out;
    assert!(said.contains("ecommerce_nightly: every day at 00:00 UTC"), "{said}");
    assert!(said.contains("hello: no schedule"), "{said}");
    project.write(
        "p.yaml",
        "name: p\nschedule: {cron: 0 25 * * *}\n\
         tasks: {a: {uses: shell, with: {run: 'true'}}}\n",
    );
    let said = project.tidemill(&["schedule", "p.yaml"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("p.yaml:2") && said.err.contains("the hour is 0 to 23"), "{said:?}");
    assert!(!project.data().exists());
}

#[test]
fn problems_of_a_pipeline_come_all_at_once_with_their_places() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shel\n    needs: [b]\n  c:\n    uses: shell\n    \
         depends_on: [a]\n    with: {run: 'true'}\n",
    );
    let said = project.tidemill(&["validate", "p.yaml"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    for words in ["p.yaml:4:11", "`shel`", "`shell`", "p.yaml:5:13", "`b`", "p.yaml:8:5", "`needs`"]
    {
        assert!(said.err.contains(words), "{words} is not in:\n{}", said.err);
    }
    let said = project.tidemill(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(!project.data().exists(), "a wrong pipeline leaves nothing behind");
}

#[test]
fn a_file_that_nobody_writes_must_exist() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shell\n    inputs: {rows: file:none.csv}\n    \
         with: {run: 'true'}\n",
    );
    let said = project.tidemill(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("file:none.csv"), "{said:?}");
    assert!(said.err.contains("p.yaml:5:"), "{said:?}");
}

#[test]
fn a_data_directory_of_a_newer_version_is_left_alone() {
    let project = Project::shipped();
    project.ok(&["run", "pipelines/hello.yaml"]);
    let store = rusqlite::Connection::open(project.data().join("store.db")).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    for arguments in [&["run", "pipelines/hello.yaml"][..], &["history"], &["show", "latest"]] {
        let said = project.tidemill(arguments);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("was written by a newer tidemill (format 99"), "{said:?}");
    }
}

#[test]
fn only_and_from_choose_tasks() {
    let project = Project::shipped();
    project.ok(&["run", "pipelines/fan_in.yaml"]);
    project.ok(&["run", "pipelines/fan_in.yaml", "--only", "total"]);
    assert_eq!(project.states(), ["total: succeeded"]);
    project.ok(&["run", "pipelines/fan_in.yaml", "--from", "west"]);
    assert_eq!(project.states(), ["west: succeeded", "total: succeeded"]);
    let said = project.tidemill(&["run", "pipelines/fan_in.yaml", "--only", "totl"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("`total`"), "{said:?}");
}

#[test]
fn wrong_runs_and_empty_places_get_a_sentence() {
    let project = Project::shipped();
    let said = project.tidemill(&["history"]);
    assert!(said.err.contains("no run has been made in"), "{said:?}");
    project.ok(&["run", "pipelines/hello.yaml"]);
    let said = project.tidemill(&["show", "nonsense"]);
    assert!(said.err.contains("there is no run `nonsense`"), "{said:?}");
    let said = project.tidemill(&["logs", "latest", "nonsense"]);
    assert!(said.err.contains("has no task `nonsense`; there are `compose`, `speak`"), "{said:?}");
}

#[test]
fn days_are_of_the_time_zone_of_the_schedule() {
    let project = Project::new();
    let check = |zone: &str, start: &str| {
        project.write(
            "pipelines/p.yaml",
            &format!(
                "name: p\nschedule: {{cron: 0 0 * * *, timezone: {zone}}}\ntasks:\n  a:\n    uses: \
                 shell\n    with: {{run: \"echo about ${{{{ interval.date }}}}\"}}\n"
            ),
        );
        project.ok(&["run", "pipelines/p.yaml", "--date", "2026-11-20"]);
        assert!(project.ok(&["logs", "latest"]).out.contains("about 2026-11-20"), "{zone}");
        let shown = project.ok(&["show", "latest"]).out;
        assert!(shown.contains("for 2026-11-20\n"), "{zone}: {shown}");
        let history = project.ok(&["history", "-o", "json"]).out;
        let history: Value = serde_json::from_str(&history).unwrap();
        assert_eq!(history[0]["interval_start"], start, "{zone}");
    };
    check("Europe/Berlin", "2026-11-19T23:00:00Z");
    check("America/New_York", "2026-11-20T05:00:00Z");
    check("UTC", "2026-11-20T00:00:00Z");
}

#[test]
fn schedule_agrees_with_croniter() {
    let Some(python) = crate::browser::tool("TIDEMILL_CRONITER") else { return };
    let project = Project::new();
    let compare = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cron/compare.py");
    let output = std::process::Command::new(python)
        .arg(compare)
        .args([Path::new(env!("CARGO_BIN_EXE_tidemill")), &project.path("")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
