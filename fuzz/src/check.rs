//! What holds for every file that someone calls a pipeline. That nothing panics, takes long or needs
//! much memory is for libFuzzer to see.

use crate::kinds::documented_kinds;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use tidemill_orchestrator::diagnostic::{Code, Diagnostic, Place, Problems, render};
use tidemill_orchestrator::kind::Kinds;
use tidemill_orchestrator::load::{Definition, load_and_plan, validate};
use tidemill_orchestrator::plan::{Plan, PlanRequest, plan};
use tidemill_orchestrator::spec::pipeline_schema;

static KINDS: LazyLock<Kinds> = LazyLock::new(documented_kinds);

/// The pipeline's file, in the project that `cargo xtask fuzz` has made. It stays open: to close a
/// file that was truncated lets some file systems wait for the disk.
static FILE: LazyLock<(PathBuf, File)> = LazyLock::new(|| {
    let project = std::env::var_os("TIDEMILL_FUZZ_PROJECT").expect("start it by cargo xtask fuzz");
    let path = PathBuf::from(project).join("pipeline.yaml");
    let file = File::create(&path).expect("the project can be written to");
    (path, file)
});

/// Loads and plans a file of these bytes as the program does.
pub(crate) fn pipeline(bytes: &[u8]) {
    let (path, file) = &*FILE;
    file.write_all_at(bytes, 0).expect("the pipeline can be written");
    file.set_len(bytes.len() as u64).expect("and be made shorter");
    let plain = plain_request();
    let request = request(&String::from_utf8_lossy(bytes));
    let planned = load_and_plan(path, &KINDS, &request);
    match &planned {
        Ok((definition, plan, warnings)) => {
            let (diagnostics, sources) = (warnings.clone(), definition.sources());
            check_problems(&Problems { diagnostics, sources }, true);
            assert!(!warnings.iter().any(Diagnostic::is_error), "{warnings:?}");
            check_plan(plan);
            check_again(definition, plan, &request);
        }
        // What is wrong with a request lies in no file.
        Err(problems) => {
            check_problems(problems, request == plain);
            assert!(problems.diagnostics.iter().any(Diagnostic::is_error), "{problems:?}");
        }
    }
    match validate(path, &KINDS, plain.now) {
        Ok((plan, warnings)) => {
            check_problems(&warnings, true);
            check_plan(&plan);
        }
        Err(problems) => {
            check_problems(&problems, true);
            assert!(planned.is_err() || request != plain, "planned, but: {problems:?}");
        }
    }
}

fn plain_request() -> PlanRequest {
    PlanRequest::new("2026-11-24T12:00:00Z".parse().expect("a time"))
}

/// How a text wants to be planned: by lines as in orchestrator/tests/language/cases.rs.
fn request(text: &str) -> PlanRequest {
    let mut request = plain_request();
    for line in text.lines().filter_map(|line| line.strip_prefix("#: ")) {
        let Some((word, value)) = line.split_once(' ') else { continue };
        let value = value.to_owned();
        match word {
            "set" => {
                let pair = value.split_once('=').unwrap_or((&value, ""));
                request.set.push((pair.0.to_owned(), pair.1.to_owned()));
            }
            "only" => request.only.push(value),
            "from" => request.from.push(value),
            "profile" => request.profile = Some(value),
            "date" => request.date = value.parse().ok(),
            _ => {}
        }
    }
    request
}

/// Each problem says something and, where it `lies_in_a_file`, has a place there; they can be shown
/// to people and to programs.
fn check_problems(problems: &Problems, lies_in_a_file: bool) {
    for diagnostic in &problems.diagnostics {
        assert!(!diagnostic.message.trim().is_empty(), "{diagnostic:?}");
        assert!(diagnostic.code != Code::Internal, "{diagnostic:?}");
        let spans = diagnostic.span.iter().map(|span| (&diagnostic.file, span));
        assert!(diagnostic.span.is_some() || !lies_in_a_file, "no place: {diagnostic:?}");
        let related = diagnostic.related.iter().map(|related| (&related.file, &related.span));
        for (file, span) in spans.chain(related) {
            // `get` refuses what lies behind the end or within a character.
            let text = problems.sources.get(file).and_then(|text| text.get(span.clone()));
            assert!(text.is_some(), "a place in no text: {diagnostic:?}");
        }
    }
    let Problems { diagnostics, sources } = problems;
    assert_eq!(render(diagnostics, sources, true).is_empty(), diagnostics.is_empty());
    let plain = render(diagnostics, sources, false);
    let control = plain.chars().find(|c| c.is_control() && *c != '\n');
    assert!(control.is_none(), "{control:?} in {plain:?}");
    for located in problems.located() {
        assert!(serde_json::to_string(&located).is_ok(), "{located:?}");
        let related = located.related.iter().map(|related| (related.file, related.place));
        for (file, place) in related.chain([(located.file, located.place)]) {
            let Some(place) = place else { continue };
            assert!(lies_in(&sources[file], place), "no such line and column: {located:?}");
        }
    }
}

fn lies_in(text: &str, place: Place) -> bool {
    let start = (place.line, place.column);
    let end = (place.end_line, place.end_column);
    let exists = |(line, column): (usize, usize)| {
        let line = line.checked_sub(1).and_then(|line| text.split('\n').nth(line));
        line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&column))
    };
    start <= end && exists(start) && exists(end)
}

/// All tasks are in order, each after those that it depends on, and of a kind that there is.
fn check_plan(plan: &Plan) {
    let order: BTreeSet<usize> = plan.order.iter().copied().collect();
    assert!(order.into_iter().eq(0..plan.tasks.len()), "{plan:?}");
    assert_eq!(plan.order.len(), plan.tasks.len());
    let mut ranks = vec![0; plan.tasks.len()];
    plan.order.iter().enumerate().for_each(|(rank, task)| ranks[*task] = rank);
    for edge in &plan.edges {
        assert!(ranks[edge.from] < ranks[edge.to], "{edge:?} goes back: {plan:?}");
    }
    for task in &plan.tasks {
        assert!(KINDS.get(&task.kind).is_some(), "{task:?}");
        for late in &task.late {
            assert!(task.options.pointer(late).is_some_and(Value::is_string), "{late}: {task:?}");
        }
    }
}

/// A run that is resumed plans from what is stored, and must do the same then.
fn check_again(definition: &Definition, made: &Plan, request: &PlanRequest) {
    let stored = serde_json::to_string(definition).expect("a definition can be stored");
    let restored: Definition = serde_json::from_str(&stored).expect("and read again");
    assert_eq!(restored.digest(), definition.digest());
    let (again, _) = plan(&restored, &KINDS, request).expect("what was planned can be planned");
    let made = serde_json::to_value(made).expect("a plan is JSON");
    assert_eq!(serde_json::to_value(&again).expect("a plan is JSON"), made);
    let read: Plan = serde_json::from_value(made.clone()).expect("a plan can be read again");
    assert_eq!(serde_json::to_value(&read).expect("a plan is JSON"), made);
}

/// Holds pipeline.dict, from which libFuzzer takes words, to the keys and choices of the language.
pub(crate) fn words() {
    let known = include_str!("../pipeline.dict");
    let mut missing = BTreeSet::new();
    collect(&pipeline_schema(&KINDS), &mut missing);
    missing.retain(|word| !known.contains(&format!("\"{word}\"")));
    assert!(missing.is_empty(), "pipeline.dict lacks {missing:?}");
}

/// The names of properties and the choices of a schema.
fn collect(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                words.extend(properties.keys().cloned());
            }
            let choices = map.get("enum").and_then(Value::as_array).into_iter().flatten();
            let choices = choices.chain(map.get("const")).filter_map(Value::as_str);
            words.extend(choices.map(str::to_owned));
            map.values().for_each(|value| collect(value, words));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        _ => {}
    }
}
