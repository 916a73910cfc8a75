//! A run in a table: what `run` closes with, and `show` shows.

use crate::output::{self, Align, Table};
use jiff::Timestamp;
use orchestrator::run::{Phase, RunState, TaskState, Timeline};
use serde_json::{Value, json};

/// One line for each task: how it ended, attempts, rows in and out, bytes, duration, and why.
pub fn table(state: &RunState, times: &Timeline) -> String {
    let mut table = Table::new(&[
        ("task", Align::Left),
        ("state", Align::Left),
        ("attempts", Align::Right),
        ("rows in", Align::Right),
        ("rows out", Align::Right),
        ("bytes", Align::Right),
        ("duration", Align::Right),
    ]);
    let now = Timestamp::now();
    let some = |number: u64, text: String| if number == 0 { String::new() } else { text };
    for (name, task) in state.tasks() {
        let counts = task.counts;
        table.row(vec![
            name.to_owned(),
            output::state_label(task.phase.as_str()),
            some(task.attempts.into(), task.attempts.to_string()),
            some(counts.rows_in, output::exact(counts.rows_in)),
            some(counts.rows_out, output::exact(counts.rows_out)),
            some(counts.bytes_out, output::bytes(counts.bytes_out)),
            times.task(name, now).map(output::duration).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// The reasons of tasks that did not succeed, a line each: `clean: why`.
pub fn reasons(state: &RunState) -> String {
    let mut text = String::new();
    for (name, task) in state.tasks() {
        let ended_well =
            matches!(task.phase, Phase::Ended(orchestrator::event::TaskEnd::Succeeded));
        if let (Some(reason), false) = (&task.reason, ended_well) {
            let (style, mark) = output::state(task.phase.as_str());
            text.push_str(&format!("{style}{mark} {name}{style:#}: {reason}\n"));
        }
    }
    text
}

/// The same for programs.
pub fn json(run: &str, pipeline: &str, status: &str, state: &RunState, times: &Timeline) -> Value {
    let tasks: Vec<Value> =
        state.tasks().map(|(name, task)| task_json(name, task, times)).collect();
    json!({
        "run": run,
        "pipeline": pipeline,
        "state": status,
        "duration_ms": times.run().as_millis() as i64,
        "tasks": tasks,
    })
}

/// How a task went, for programs.
pub fn task_json(name: &str, task: &TaskState, times: &Timeline) -> Value {
    let published =
        task.outputs.iter().map(|(name, output)| (name.clone(), json!(output.published)));
    let outputs: serde_json::Map<String, Value> = published.collect();
    let took = times.task(name, Timestamp::now());
    json!({
        "task": name,
        "state": task.phase.as_str(),
        "attempts": task.attempts,
        "rows_in": task.counts.rows_in,
        "rows_out": task.counts.rows_out,
        "bytes_out": task.counts.bytes_out,
        "duration_ms": took.map(|took| took.as_millis() as i64),
        "reason": task.reason,
        "values": task.values,
        "report": task.report,
        "outputs": outputs,
    })
}
