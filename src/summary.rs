//! A run in a table: what `run` closes with, and `show` shows.

use crate::output::{self, Align, Table};
use jiff::{SignedDuration, Timestamp};
use orchestrator::event::Event;
use orchestrator::run::{Phase, RunState};
use orchestrator::store::Record;
use serde_json::{Value, json};
use std::collections::HashMap;

/// When tasks were at work, folded from the journal.
#[derive(Clone, Debug, Default)]
pub struct Times {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    tasks: HashMap<String, TaskTimes>,
}

#[derive(Clone, Copy, Debug)]
struct TaskTimes {
    started: Timestamp,
    ended: Option<Timestamp>,
}

impl Times {
    pub fn record(&mut self, record: &Record) {
        self.first.get_or_insert(record.at);
        self.last = Some(record.at);
        match &record.event {
            Event::AttemptStarted { task, .. } => {
                let fresh = TaskTimes { started: record.at, ended: None };
                self.tasks.entry(task.clone()).or_insert(fresh).ended = None;
            }
            Event::AttemptEnded { task, .. } | Event::TaskEnded { task, .. } => {
                if let Some(times) = self.tasks.get_mut(task) {
                    times.ended = Some(record.at);
                }
            }
            _ => {}
        }
    }

    /// From the task's first attempt to its end, or to now.
    pub fn task(&self, task: &str) -> Option<SignedDuration> {
        let times = self.tasks.get(task)?;
        Some(times.started.duration_until(times.ended.unwrap_or_else(Timestamp::now)))
    }

    /// From the run's first event to its last.
    pub fn run(&self) -> SignedDuration {
        match (self.first, self.last) {
            (Some(first), Some(last)) => first.duration_until(last),
            _ => SignedDuration::ZERO,
        }
    }
}

/// One line for each task: how it ended, attempts, rows in and out, bytes, duration, and why.
pub fn table(state: &RunState, times: &Times) -> String {
    let mut table = Table::new(&[
        ("task", Align::Left),
        ("state", Align::Left),
        ("attempts", Align::Right),
        ("rows in", Align::Right),
        ("rows out", Align::Right),
        ("bytes", Align::Right),
        ("duration", Align::Right),
    ]);
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
            times.task(name).map(output::duration).unwrap_or_default(),
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
pub fn json(run: &str, pipeline: &str, status: &str, state: &RunState, times: &Times) -> Value {
    let tasks: Vec<Value> = state
        .tasks()
        .map(|(name, task)| {
            let outputs: serde_json::Map<String, Value> = task
                .outputs
                .iter()
                .map(|(output, known)| (output.clone(), json!(known.published)))
                .collect();
            json!({
                "task": name,
                "state": task.phase.as_str(),
                "attempts": task.attempts,
                "rows_in": task.counts.rows_in,
                "rows_out": task.counts.rows_out,
                "bytes_out": task.counts.bytes_out,
                "duration_ms": times.task(name).map(|duration| duration.as_millis() as i64),
                "reason": task.reason,
                "values": task.values,
                "report": task.report,
                "outputs": outputs,
            })
        })
        .collect();
    json!({
        "run": run,
        "pipeline": pipeline,
        "state": status,
        "duration_ms": times.run().as_millis() as i64,
        "tasks": tasks,
    })
}
