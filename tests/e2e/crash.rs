//! The crash that matters most: SIGKILL of the real binary at every event of the journal and around
//! every commit. Resumed, the run gives the same rows as an undisturbed one.

use crate::project::{Project, assert_same};
use std::sync::atomic::{AtomicUsize, Ordering};

const RUN: [&str; 8] = [
    "run",
    "pipelines/crash.yaml",
    "--set",
    "rows=400",
    "--set",
    "dirty=0.05",
    "--date",
    "2026-11-20",
];

/// Every point where the binary can be told to die, and how often it passes it at least.
const POINTS: [&str; 12] = [
    "journal.after_commit",
    "file.before_rename",
    "file.after_rename",
    "table.staged",
    "table.before_commit",
    "table.after_commit",
    "topic.before_commit",
    "topic.after_commit",
    "land.roll_staged",
    "kv.before_commit",
    "kv.after_commit",
    "topic.renamed",
];

/// The main job without its pictures, which take long to draw and hold no rows.
fn project() -> Project {
    let project = Project::shipped();
    let whole = project.read("pipelines/ecommerce.yaml");
    let (rows, _) = whole.split_once("  report:\n").unwrap();
    project.write("pipelines/crash.yaml", rows);
    project
}

/// Kills a fresh run at the `nth` passing of a point; false if it did not get there.
fn survives(point: &str, nth: usize, undisturbed: &str) -> bool {
    let project = project();
    let point = format!("{point}:{nth}");
    if !project.killed_at(&point, &RUN) {
        return false;
    }
    if project.show("latest")["state"] == "crashed" {
        project.ok(&["run", "--resume", "latest"]);
    }
    assert_eq!(project.show("latest")["state"], "succeeded", "{point}");
    assert_same(&point, undisturbed, &project.everything());
    true
}

#[test]
fn killed_anywhere_a_run_gives_the_same_rows() {
    let calm = project();
    calm.ok(&RUN);
    let undisturbed = calm.everything();
    assert!(undisturbed.lines().count() > 700);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(|| {
                while let Some(point) = POINTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let kills = (1..).take_while(|n| survives(point, *n, &undisturbed)).count();
                    assert!(kills > 0, "{point} was never reached");
                }
            });
        }
    });
}

/// Points that a landing in plain files passes.
const FILE_POINTS: [&str; 5] = [
    "land.roll_staged",
    "table.before_commit",
    "land.roll_committed",
    "file.before_rename",
    "file.after_rename",
];

const FILES: &str = "
name: files
tasks:
  generate: {uses: generate, with: {rows: 300, seed: 3, dirty: 0}, outputs: {orders: file:raw/orders.csv}}
  stream: {uses: stream, inputs: {rows: file:raw/orders.csv}, outputs: {topic: topic:orders}}
  land:
    uses: land
    inputs: {topic: topic:orders}
    outputs: {orders: file:landed/orders}
    with: {roll: {rows: 100}}
";

/// The rows of all files, in one order.
fn landed(project: &Project) -> String {
    let mut rows = Vec::new();
    for file in std::fs::read_dir(project.data().join("files/landed/orders")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        rows.extend(text.lines().skip(1).map(str::to_owned));
    }
    rows.sort();
    rows.join("\n")
}

#[test]
fn killed_anywhere_a_landing_in_files_has_each_row_once() {
    let start = || {
        let project = Project::new();
        project.write("files.yaml", FILES);
        project
    };
    let run = ["run", "files.yaml", "--date", "2026-11-20"];
    let calm = start();
    calm.ok(&run);
    let undisturbed = landed(&calm);
    assert_eq!(undisturbed.lines().count(), 300);
    for point in FILE_POINTS {
        let killed = |nth: &usize| {
            let project = start();
            let point = format!("{point}:{nth}");
            if !project.killed_at(&point, &run) {
                return false;
            }
            project.ok(&["run", "--resume", "latest"]);
            assert_same(&point, &undisturbed, &landed(&project));
            true
        };
        let kills = (1..).take_while(killed).count();
        assert!(kills >= 3, "{point} was reached {kills} times");
    }
}
