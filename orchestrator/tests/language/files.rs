//! Reading files: the project, what tasks refer to, and what can't be read.

use crate::kinds::kinds;
use std::fs;
use std::path::Path;
use tidemill_orchestrator::load::{Definition, load, validate};
use tidemill_orchestrator::project::find_project;

const PIPELINE: &str = "
name: p
tasks:
  q: {uses: query, with: {sql: ../sql/q.sql}, inputs: {a: table:a}, outputs: {b: table:b}}
";

/// A project with a pipeline in `pipelines/` and its SQL in `sql/`.
fn project() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("pipelines")).unwrap();
    fs::create_dir_all(root.path().join("sql")).unwrap();
    fs::write(root.path().join("pipelines/p.yaml"), PIPELINE).unwrap();
    fs::write(root.path().join("sql/q.sql"), "select 1").unwrap();
    root
}

fn code(path: &Path) -> String {
    let problems = load(path, &kinds()).unwrap_err();
    let codes: Vec<&str> = problems.diagnostics.iter().map(|d| d.code.as_str()).collect();
    assert!(!problems.render(true).is_empty());
    codes.join(" ")
}

#[test]
fn a_definition_holds_all_that_a_run_needs() {
    let root = project();
    let path = root.path().join("pipelines/p.yaml");
    let text = "data_dir: data\nprofile: far\nprofiles: {far: {broker: 'b:9092'}}\n";
    fs::write(root.path().join("tidemill.yaml"), text).unwrap();
    let definition = load(&path, &kinds()).unwrap();
    assert_eq!(definition.files["../sql/q.sql"], "select 1");
    assert_eq!(definition.project_dir, root.path());
    assert_eq!(definition.default_profile, "far");
    assert_eq!(definition.profiles["far"]["broker"], "b:9092");
    assert!(definition.profiles.contains_key("embedded"));

    let stored = serde_json::to_string(&definition).unwrap();
    let restored: Definition = serde_json::from_str(&stored).unwrap();
    assert_eq!(restored.digest(), definition.digest());
    assert_eq!(definition.digest().len(), 64);

    fs::write(root.path().join("sql/q.sql"), "select 2").unwrap();
    assert_ne!(load(&path, &kinds()).unwrap().digest(), definition.digest());
}

#[test]
fn a_project_is_found_from_below() {
    let root = project();
    let below = root.path().join("pipelines");
    assert_eq!(find_project(&below).unwrap().file, None);
    assert_eq!(find_project(&below).unwrap().dir, below);
    fs::write(root.path().join("tidemill.yaml"), "").unwrap();
    let found = find_project(&below.join("p.yaml")).unwrap();
    assert_eq!(found.dir, root.path());
    assert_eq!(found.data_dir, root.path().join("tidemill-data"));
    assert_eq!(found.default_profile, "embedded");
}

#[test]
fn a_broken_project_file_is_a_problem_of_its_own() {
    let root = project();
    let check = |text: &str, expect: &str| {
        fs::write(root.path().join("tidemill.yaml"), text).unwrap();
        let rendered = find_project(root.path()).unwrap_err().render(false);
        assert!(rendered.contains(expect), "{rendered}");
        assert!(rendered.contains("tidemill.yaml:1:"), "{rendered}");
    };
    check("profils: {}\n", "the project file has no key `profils`");
    check("profile: clutser\nprofiles: {cluster: {}}\n", "did you mean `cluster`?");
    check("profiles: [cluster]\n", "must be a mapping");
    check("data_dir: [\n", "`[` is never closed");
}

#[test]
fn what_cannot_be_read() {
    let root = project();
    let at = |name: &str| root.path().join(name);
    assert_eq!(code(&at("nope.yaml")), "file-not-found");
    assert_eq!(code(&at("pipelines")), "file-unreadable");
    fs::write(at("large.yaml"), vec![b'#'; 10 * 1024 * 1024 + 1]).unwrap();
    assert_eq!(code(&at("large.yaml")), "file-too-large");
    fs::write(at("empty.yaml"), "\u{feff} \n").unwrap();
    assert_eq!(code(&at("empty.yaml")), "file-empty");
    fs::write(at("latin.yaml"), b"name: caf\xe9").unwrap();
    assert_eq!(code(&at("latin.yaml")), "not-utf8");
    fs::write(at("sql/q.sql"), vec![b'-'; 10 * 1024 * 1024 + 1]).unwrap();
    assert_eq!(code(&at("pipelines/p.yaml")), "file-too-large");
    fs::remove_file(at("sql/q.sql")).unwrap();
    assert_eq!(code(&at("pipelines/p.yaml")), "file-not-found");
}

#[test]
fn ten_megabytes_are_read() {
    let root = project();
    let mut text = String::from("name: p\ntasks:\n  a: {uses: noop}\n");
    let line = "# nothing but a comment that is somewhat long, as comments are\n";
    text.push_str(&line.repeat((10 * 1024 * 1024 - text.len()) / line.len()));
    fs::write(root.path().join("p.yaml"), text).unwrap();
    load(&root.path().join("p.yaml"), &kinds()).unwrap();
}

#[test]
fn validation_needs_no_values_of_params() {
    let root = project();
    let text = "
name: p
params: {day: {type: string}}
tasks:
  a: {uses: noop, with: {x: '${{ params.day }}', y: '{{ params.day }}'}}
";
    let path = root.path().join("p.yaml");
    fs::write(&path, text).unwrap();
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let (_, warnings) = validate(&path, &kinds(), now).unwrap();
    assert!(warnings.render(false).starts_with("warning[unquoted-expression]"));
}
