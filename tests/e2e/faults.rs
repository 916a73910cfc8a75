//! What goes wrong with servers, and what a run makes of it. docs/reliability.md has a row for each.

use crate::project::{Project, assert_same, end, wait_until};
use crate::servers::Servers;
use std::process::Child;

/// Slow enough to be in the middle of everything when a server goes.
fn run<'a>() -> Vec<&'a str> {
    let mut words = vec!["run", "pipelines/ecommerce.yaml", "--date", "2026-11-20"];
    for set in ["rows=20000", "dirty=0.02", "rate=2000 rows / 1s"] {
        words.extend(["--set", set]);
    }
    words
}

/// Whether a task of the newest run is in progress.
fn runs(project: &Project, task: &str) -> bool {
    let shown = project.tidemill(&["show", "latest", "-o", "json"]);
    let Ok(shown) = serde_json::from_str::<serde_json::Value>(&shown.out) else { return false };
    let tasks = shown["tasks"].as_array().unwrap();
    tasks.iter().any(|found| found["task"] == task && found["state"] == "running")
}

/// Kills a server while a task runs, starts it again, and expects the rows of an undisturbed run.
fn survives(server: &str, during: &str) {
    let Some(servers) = Servers::find() else { return };
    let (here, there) = (Project::shipped(), Project::on(&servers));
    here.ok(&run());
    let child: Child = there.start(&run());
    wait_until(&format!("{during} runs"), || runs(&there, during));
    // Some way into it.
    std::thread::sleep(std::time::Duration::from_secs(1));
    servers.kill(server);
    std::thread::sleep(std::time::Duration::from_secs(2));
    servers.up();
    let said = end(child);
    assert_eq!(said.code, Some(0), "{server} killed during {during}: {said:#?}");
    assert_same(server, &here.everything(), &there.everything());
}

#[test]
#[ignore = "stops and starts servers: `cargo xtask test` runs it when nobody else needs them"]
fn the_broker_is_killed_during_stream() {
    survives("kafka", "stream");
}

#[test]
#[ignore = "stops and starts servers: `cargo xtask test` runs it when nobody else needs them"]
fn the_name_node_is_killed_during_land() {
    survives("namenode", "land");
}

#[test]
#[ignore = "stops and starts servers: `cargo xtask test` runs it when nobody else needs them"]
fn the_data_node_is_killed_during_land() {
    survives("datanode", "land");
}

#[test]
#[ignore = "stops and starts servers: `cargo xtask test` runs it when nobody else needs them"]
fn the_region_server_is_killed_during_load() {
    survives("hbase", "load");
}
