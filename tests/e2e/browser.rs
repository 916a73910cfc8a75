//! The pages in a real Chromium, and the API asked by a property-based tester: what `cargo xtask
//! test` brings, and what is left out without it.

use crate::daemon::{Daemon, Site};
use crate::project::{Project, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool that the environment names.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(name).map(PathBuf::from);
    if found.is_none() {
        eprintln!("left out: no {name}; `cargo xtask test` brings it");
    }
    found
}

const SCORES: &str = "\
name: scores
description: Scores of yesterday's orders
defaults: {retry: {attempts: 3, delay: 100ms}}
tasks:
  extract: {uses: shell, with: {run: echo read}}
  score: {uses: shell, needs: [extract], with: {run: 'test -e model || { echo no model >&2; exit 3; }'}}
  publish: {uses: shell, needs: [score], with: {run: echo done}}
";

#[test]
fn a_person_walks_through_the_pages() {
    let Some(browser) = tool("TIDEMILL_BROWSER") else { return };
    let project = Project::shipped();
    project.write("pipelines/scores.yaml", SCORES);
    project.write(
        "pipelines/slow.yaml",
        "name: slow\ntasks: {a: {uses: shell, with: {run: sleep 60}}}\n",
    );
    let _daemon = Daemon::start(&project, &[]);
    let site = Site::of(&project);
    // A run whose process is killed.
    let mut child = project.start(&["run", "pipelines/slow.yaml"]);
    wait_until("it is at work", || site.get("/").body.contains("Cancel slow"));
    child.kill().unwrap();
    child.wait().unwrap();
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let walk = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/walk.mjs");
    let output = Command::new("node")
        .arg(walk)
        .arg(format!("http://{}", site.0))
        .args([project.path(""), screenshots])
        .env("TIDEMILL_BROWSER", browser)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", project.read("daemon.log"));
}

#[test]
fn the_api_keeps_to_its_document() {
    let Some(schemathesis) = tool("TIDEMILL_SCHEMATHESIS") else { return };
    let project = Project::new();
    project.write("pipelines/scores.yaml", SCORES);
    project.write(
        "pipelines/hello.yaml",
        "name: hello\nschedule: {cron: '0 2 * * *'}\ntasks: {a: {uses: shell, with: {run: ls}}}\n",
    );
    let _daemon = Daemon::start(&project, &[]);
    let site = Site::of(&project);
    project.ok(&["run", "pipelines/hello.yaml"]);
    let output = Command::new(schemathesis)
        .current_dir(project.path(""))
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", site.0))
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
        .args(["--max-examples", "40", "--seed", "1", "--no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", project.read("daemon.log"));
}

#[test]
fn an_editor_completes_and_checks_pipelines() {
    let Some(modules) = tool("TIDEMILL_BROWSER") else { return };
    let project = Project::shipped();
    // The shipped project file is in the way of the one that `init` makes.
    std::fs::remove_file(project.path("tidemill.yaml")).unwrap();
    project.ok(&["init", "."]);
    let editor = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/editor.mjs");
    let pipelines = ["ecommerce", "ecommerce_nightly", "fan_in", "hello", "retries"];
    let output = Command::new("node")
        .arg(editor)
        .arg(project.path(""))
        .args(pipelines.map(|name| format!("pipelines/{name}.yaml")))
        .env("TIDEMILL_BROWSER", modules)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
