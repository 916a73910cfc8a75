//! The crash that matters most: SIGKILL of the real binary at every event of the journal and around
//! every commit. Resumed, the run gives the same rows as an undisturbed one.

use crate::project::Project;
use std::sync::atomic::{AtomicUsize, Ordering};

const RUN: [&str; 8] = [
    "run",
    "pipelines/ecommerce.yaml",
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
    "artifact.before_rename",
];

/// Kills a fresh run at the `nth` passing of a point; false if it did not get there.
fn survives(point: &str, nth: usize, undisturbed: &str) -> bool {
    let project = Project::shipped();
    let point = format!("{point}:{nth}");
    if !project.killed_at(&point, &RUN) {
        return false;
    }
    if project.show("latest")["state"] == "crashed" {
        project.ok(&["run", "--resume", "latest"]);
    }
    assert_eq!(project.show("latest")["state"], "succeeded", "{point}");
    assert_eq!(project.everything(), undisturbed, "{point}");
    true
}

#[test]
fn killed_anywhere_a_run_gives_the_same_rows() {
    let calm = Project::shipped();
    calm.ok(&RUN);
    let undisturbed = calm.everything();
    assert!(undisturbed.lines().count() > 700, "{undisturbed}");
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
