//! Cases as files: `tests/cases/NAME.yaml` and, beside it, what comes of it in `NAME.expected`:
//! the problems as people see them, or else the plan. `UPDATE_EXPECT=1` writes the expectations.
//!
//! A case's first lines may say how it is planned: `#: set rows=5`, `#: only NAME`, `#: from NAME`,
//! `#: profile NAME`, `#: date 2026-11-01`.

use crate::kinds::kinds;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tidemill_orchestrator::diagnostic::render;
use tidemill_orchestrator::load::load_and_plan;
use tidemill_orchestrator::plan::{EdgeReason, Plan, PlanRequest, PlannedTask};

#[test]
fn cases() {
    let mut failed = Vec::new();
    let mut count = 0;
    for path in paths() {
        count += 1;
        let got = outcome(&path);
        let expected_path = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected_path, &got).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if got != expected {
            failed.push(format!("== {}\n-- expected\n{expected}-- got\n{got}", path.display()));
        }
    }
    assert!(count > 0, "no cases found");
    assert!(failed.is_empty(), "{}\nUPDATE_EXPECT=1 writes what was got", failed.join("\n"));
}

fn paths() -> Vec<PathBuf> {
    let files = Path::new("tests/cases").read_dir().unwrap();
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| !path.ends_with("tidemill.yaml"))
        .collect();
    paths.sort();
    paths
}

fn outcome(path: &Path) -> String {
    let text = std::fs::read(path).unwrap();
    let request = request(&String::from_utf8_lossy(&text));
    match load_and_plan(path, &kinds(), &request) {
        Err(problems) => problems.render(false),
        Ok((definition, plan, warnings)) => {
            render(&warnings, &definition.sources(), false) + &describe(&plan)
        }
    }
}

fn request(text: &str) -> PlanRequest {
    let mut request = PlanRequest::new("2026-11-24T12:00:00Z".parse().unwrap());
    for line in text.lines().filter_map(|line| line.strip_prefix("#: ")) {
        let (word, value) = line.split_once(' ').unwrap();
        let value = value.to_owned();
        match word {
            "set" => {
                let (name, value) = value.split_once('=').unwrap();
                request.set.push((name.to_owned(), value.to_owned()));
            }
            "only" => request.only.push(value),
            "from" => request.from.push(value),
            "profile" => request.profile = Some(value),
            "date" => {
                request.date = Some(value.parse().unwrap());
            }
            other => panic!("no directive {other}"),
        }
    }
    request
}

/// A plan as short text.
pub(crate) fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    let interval = format!("{} to {}", plan.interval.start, plan.interval.end);
    writeln!(text, "{} ({}) {interval}", plan.pipeline, plan.profile).unwrap();
    if !plan.params.is_empty() {
        writeln!(text, "params {}", serde_json::to_string(&plan.params).unwrap()).unwrap();
    }
    for task in &plan.tasks {
        describe_task(task, &mut text);
    }
    for edge in &plan.edges {
        let reason = match &edge.reason {
            EdgeReason::Needs => "needs".to_owned(),
            EdgeReason::Expression => "expression".to_owned(),
            EdgeReason::Dataset(dataset) => dataset.to_string(),
            EdgeReason::Stream(dataset) => format!("stream of {dataset}"),
        };
        let (from, to) = (&plan.tasks[edge.from].name, &plan.tasks[edge.to].name);
        writeln!(text, "{from} -> {to} ({reason})").unwrap();
    }
    let order: Vec<&str> = plan.order.iter().map(|task| plan.tasks[*task].name.as_str()).collect();
    writeln!(text, "order {}", order.join(" ")).unwrap();
    text
}

fn describe_task(task: &PlannedTask, text: &mut String) {
    writeln!(text, "{}: {} {}", task.name, task.kind, task.options).unwrap();
    for (name, dataset) in &task.inputs {
        writeln!(text, "  in {name}: {dataset}").unwrap();
    }
    for (name, output) in &task.outputs {
        write!(text, "  out {name}: {} {:?}", output.dataset, output.write).unwrap();
        for (word, columns) in [("by", &output.partition_by), ("key", &output.key)] {
            if !columns.is_empty() {
                write!(text, " {word} {}", columns.join(",")).unwrap();
            }
        }
        let condition = output.replace_where.iter();
        condition.for_each(|condition| write!(text, " where {condition}").unwrap());
        text.push('\n');
    }
    let mut line = |word: &str, value: String| writeln!(text, "  {word} {value}").unwrap();
    task.late.iter().for_each(|late| line("late", late.clone()));
    task.when.iter().for_each(|when| line("when", when.clone()));
    task.skip.iter().for_each(|skip| line("skip", skip.clone()));
    task.timeout.iter().for_each(|timeout| line("timeout", format!("{timeout:#}")));
    if task.trigger_rule != Default::default() {
        line("rule", format!("{:?}", task.trigger_rule));
    }
    if task.retry != Default::default() {
        let retry = &task.retry;
        let (delay, most) = (retry.delay, retry.max_delay);
        line("retry", format!("{} {delay:#} {:?} {most:#}", retry.attempts, retry.backoff));
    }
}
