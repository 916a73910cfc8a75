//! What a second night does: the expected counts, written down before the code.
//!
//! A night makes 2,000 orders, 40 of them (2 %) dirty. So 1,960 of each night are clean, whichever
//! nights ran before, and running a night again changes nothing.

use crate::project::{Project, assert_same, end};
use serde_json::{Value, json};

const CLEAN: u64 = 1_960;

fn night(date: &str) -> Vec<&str> {
    let file = "pipelines/ecommerce_nightly.yaml";
    vec!["run", file, "--date", date, "--set", "rows=2000", "--set", "dirty=0.02"]
}

fn query(project: &Project, sql: &str) -> Value {
    serde_json::from_str(&project.ok(&["query", sql, "-o", "json"]).out).unwrap()
}

/// The clean orders of each night.
fn nights(project: &Project) -> Value {
    query(
        project,
        "select night, count(*) as orders, count(distinct order_id) as ids
         from nightly_orders group by night order by night",
    )
}

fn counted(nights: &[&str]) -> Value {
    nights.iter().map(|night| json!({"night": night, "orders": CLEAN, "ids": CLEAN})).collect()
}

/// Rows in the key-value table.
fn keys(project: &Project) -> usize {
    let scan = ["kv", "scan", "ecommerce_table", "--limit", "100000", "-o", "json"];
    let rows: Value = serde_json::from_str(&project.ok(&scan).out).unwrap();
    rows.as_array().unwrap().len()
}

#[test]
fn nights_1_2_2_again_and_0_by_hand() {
    let project = Project::shipped();
    let all = "select * from nightly_orders where night < '2026-11-12' order by order_id";
    project.ok(&night("2026-11-11"));
    assert_eq!(nights(&project), counted(&["2026-11-11"]));
    assert_eq!(keys(&project), 1_960);
    let first = query(&project, all);

    project.ok(&night("2026-11-12"));
    assert_eq!(nights(&project), counted(&["2026-11-11", "2026-11-12"]));
    assert_eq!(keys(&project), 3_920);

    let before = project.everything();
    project.ok(&night("2026-11-12"));
    assert_eq!(nights(&project), counted(&["2026-11-11", "2026-11-12"]));
    assert_eq!(keys(&project), 3_920);
    assert_same("a night again changes nothing", &before, &project.everything());

    project.ok(&night("2026-11-10"));
    assert_eq!(nights(&project), counted(&["2026-11-10", "2026-11-11", "2026-11-12"]));
    assert_eq!(keys(&project), 5_880);
    let second = query(&project, &all.replace("where", "where night > '2026-11-10' and"));
    assert!(first == second, "a night changes its own rows alone");
}

#[test]
fn two_runs_started_at_the_same_moment() {
    let project = Project::shipped();
    let waiting = [night("2026-11-11"), vec!["--wait"]].concat();
    let other = [night("2026-11-12"), vec!["--wait"]].concat();
    let (one, two) = (project.start(&waiting), project.start(&other));
    let (one, two) = (end(one), end(two));
    assert_eq!((one.code, two.code), (Some(0), Some(0)), "{one:#?} {two:#?}");
    assert_eq!(nights(&project), counted(&["2026-11-11", "2026-11-12"]));
    assert_eq!(keys(&project), 3_920);

    let (one, two) = (project.start(&night("2026-11-13")), project.start(&night("2026-11-13")));
    let mut codes = [end(one).code, end(two).code];
    codes.sort();
    assert_eq!(codes, [Some(0), Some(3)], "one runs, the other is told so");
    let runs = std::fs::read_dir(project.data().join("runs")).unwrap().count();
    assert_eq!(runs, 3, "a run that was not to be leaves nothing behind");
    assert_eq!(keys(&project), 5_880);
}
