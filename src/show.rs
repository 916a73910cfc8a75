//! `tidemill show`

use crate::completions;
use crate::output::{self, Align, Table};
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::summary;
use crate::{Common, Format, OK, diff};
use anyhow::Result;
use indexmap::IndexMap;
use jiff::Timestamp;
use orchestrator::event::{AttemptResult, Event};
use orchestrator::run::{Restored, RunState, Timeline};
use orchestrator::store::{Record, Store};
use serde_json::{Value, json};
use std::fmt::Write as _;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill show latest
  tidemill show 019a3f -o json
  tidemill show latest --diff -2   what was another in the run before it
  tidemill show latest --events    the run's journal, event by event")]
pub struct Arguments {
    /// The run: its id, a unique beginning or end of it, `latest`, or -2 for the one before that
    #[arg(add = completions::runs(), allow_negative_numbers = true)]
    run: String,
    /// Print what differs from another run: its definition, and how its tasks went
    #[arg(long, value_name = "RUN", conflicts_with = "events",
          allow_negative_numbers = true, add = completions::runs())]
    diff: Option<String>,
    /// Print the journal instead of the summary
    #[arg(long)]
    events: bool,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let row = store.find_run(&arguments.run)?;
    if let Some(other) = &arguments.diff {
        let other = store.find_run(other)?;
        differences(&mut store, &other.id, &row.id, arguments.output)?;
        return Ok(OK);
    }
    let records = store.events(&row.id, 0)?;
    if arguments.events {
        for record in &records {
            print(&match arguments.output {
                Format::Json => format!("{}\n", record.to_json()),
                Format::Text => event_line(record),
            })?;
        }
        if arguments.output == Format::Text {
            print(&format!("times: {}\n", output::zone()))?;
        }
        return Ok(OK);
    }
    let (_, state, times) = replay(&mut store, &row.id, &records)?;
    let status = pipeline::status(&row, &data_dir).as_str();
    if arguments.output == Format::Json {
        let json = summary::json(&row.id, &row.pipeline, status, &state, &times);
        print_json(&json)?;
        return Ok(OK);
    }
    let mut text = format!("{} {}\n", row.pipeline, output::state_label(status));
    let _ = writeln!(
        text,
        "run {} for {}\nstarted {} ({}), took {}\n",
        row.id,
        pipeline::interval(row.interval, &state.plan().zone()),
        output::time(row.created_at),
        output::zone(),
        output::duration(times.run()),
    );
    text.push_str(&summary::table(&state, &times));
    section(&mut text, "", &summary::reasons(&state));
    section(&mut text, "Timeline", &timeline(&state, &times));
    section(&mut text, "Attempts that did not succeed", &failures(&records));
    section(&mut text, "Datasets", &datasets(&records));
    section(&mut text, "Reports", &reports(&state));
    if status == "crashed" {
        let _ = writeln!(text, "\nFinish it with: tidemill run --resume {}", row.id);
    }
    print(&text)?;
    Ok(OK)
}

/// A run as its journal tells it.
fn replay(
    store: &mut Store,
    id: &str,
    records: &[Record],
) -> Result<(Restored, RunState, Timeline)> {
    let restored = pipeline::restore(&store.stored_run(id)?)?;
    let mut state = RunState::new(restored.plan.clone(), id, 1);
    let mut times = Timeline::default();
    for record in records {
        state.apply(&record.event)?;
        times.record(record);
    }
    Ok((restored, state, times))
}

/// What differs between two runs: how each task went, and the definition.
fn differences(store: &mut Store, old: &str, new: &str, output: Format) -> Result<()> {
    let (old_records, new_records) = (store.events(old, 0)?, store.events(new, 0)?);
    let (before, old_state, old_times) = replay(store, old, &old_records)?;
    let (after, new_state, new_times) = replay(store, new, &new_records)?;
    let definition = diff::differences(&before, &after);
    let old_tasks = old_state.tasks().map(|(name, _)| name);
    let mut names: Vec<&str> = new_state.tasks().map(|(name, _)| name).collect();
    names.extend(old_tasks.filter(|name| new_state.task(name).is_none()));
    if output == Format::Json {
        let task = |name: &&str| {
            let of = |state: &RunState, times| {
                state.task(name).map(|task| summary::task_json(name, task, times))
            };
            let (before, after) = (of(&old_state, &old_times), of(&new_state, &new_times));
            json!({"task": name, "before": before, "after": after})
        };
        let tasks: Vec<Value> = names.iter().map(task).collect();
        let all = json!({"before": old, "after": new, "tasks": tasks, "definition": definition});
        return print_json(&all);
    }
    let mut table = Table::new(&[
        ("task", Align::Left),
        ("state", Align::Left),
        ("rows out", Align::Right),
        ("duration", Align::Right),
    ]);
    for name in names {
        let cell = |of: &dyn Fn(&RunState, &Timeline) -> Option<String>| {
            let (before, after) = (of(&old_state, &old_times), of(&new_state, &new_times));
            match (before.unwrap_or_else(|| "-".into()), after.unwrap_or_else(|| "-".into())) {
                (before, after) if before == after => after,
                (before, after) => format!("{before} -> {after}"),
            }
        };
        table.row(vec![
            name.to_owned(),
            cell(&|state, _| Some(state.task(name)?.phase.as_str().replace('_', " "))),
            cell(&|state, _| Some(output::exact(state.task(name)?.counts.rows_out))),
            cell(&|_, times| times.task(name, Timestamp::now()).map(output::duration)),
        ]);
    }
    let definition = match definition.text() {
        same if same.is_empty() => "The definition is the same.\n".to_owned(),
        differs => differs,
    };
    Ok(print(&format!("from run {old} to run {new}\n\n{table}\n{definition}"))?)
}

/// Columns of the timeline.
const WIDTH: usize = 50;

/// The attempts at each task in time: as wide as the run took.
fn timeline(state: &RunState, times: &Timeline) -> String {
    let Some((first, last)) = times.span().filter(|(first, last)| first < last) else {
        return String::new();
    };
    let whole = first.duration_until(last).as_secs_f64();
    let column = |at: Timestamp| {
        let share = first.duration_until(at).as_secs_f64() / whole;
        ((share * WIDTH as f64) as usize).min(WIDTH - 1)
    };
    let dim = anstyle::Style::new().dimmed();
    let mut table = Table::new(&[("task", Align::Left), ("", Align::Left), ("took", Align::Right)]);
    for (name, _) in state.tasks() {
        let attempts = times.attempts(name);
        if attempts.is_empty() {
            continue;
        }
        let mut cells = vec![(dim, " "); WIDTH];
        for attempt in attempts {
            let (end, how) = match &attempt.ended {
                None => (last, "running"),
                Some((at, AttemptResult::Succeeded { .. })) => (*at, "succeeded"),
                Some((at, AttemptResult::Failed { .. })) => (*at, "failed"),
                Some((at, AttemptResult::Cancelled)) => (*at, "cancelled"),
                Some((at, AttemptResult::Lost)) => (*at, "lost"),
            };
            let (style, mark) = output::state(how);
            let span = column(attempt.started)..=column(end);
            cells[span.clone()].fill((style, if how == "succeeded" { "█" } else { "▒" }));
            if how != "succeeded" {
                cells[*span.end()] = (style, mark);
            }
        }
        let begin = column(attempts[0].started);
        let cell = |(at, (style, sign)): (usize, &(anstyle::Style, &str))| match *sign {
            " " if at > begin && at < column(times.end_of(name).unwrap_or(last)) => {
                format!("{dim}·{dim:#}")
            }
            " " => " ".to_owned(),
            sign => format!("{style}{sign}{style:#}"),
        };
        let bar: String = cells.iter().enumerate().map(cell).collect();
        let took = times.task(name, last).map(output::duration).unwrap_or_default();
        table.row(vec![name.to_owned(), bar, took]);
    }
    format!("{table}{dim}from {} to {}{dim:#}\n", clock(first), clock(last))
}

/// The time of the day in the local zone.
fn clock(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

fn section(text: &mut String, title: &str, body: &str) {
    if body.is_empty() {
        return;
    }
    text.push('\n');
    if !title.is_empty() {
        let bold = anstyle::Style::new().bold();
        let _ = writeln!(text, "{bold}{title}{bold:#}");
    }
    text.push_str(body);
}

/// `2026-11-24 02:00:00  attempt_started  clean, attempt 1`
fn event_line(record: &Record) -> String {
    let mut event = serde_json::to_value(&record.event).unwrap_or_default();
    let object = event.as_object_mut();
    let kind = object.and_then(|object| object.remove("kind")).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default();
    format!("{:>5}  {}  {kind:<16}  {event}\n", record.seq, output::time(record.at))
}

fn failures(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        if let Event::AttemptEnded { task, attempt, result, .. } = &record.event {
            let (state, why) = match result {
                AttemptResult::Succeeded { .. } => continue,
                AttemptResult::Failed { message, .. } => ("failed", message.as_str()),
                AttemptResult::Cancelled => ("cancelled", "cancelled"),
                AttemptResult::Lost => ("lost", "its process died"),
            };
            let (style, mark) = output::state(state);
            let at = output::time(record.at);
            let _ = writeln!(text, "{at}  {style}{mark} {task}{style:#}, attempt {attempt}: {why}");
        }
    }
    text
}

/// What was read and written, each once: an attempt that is repeated reads again.
fn datasets(records: &[Record]) -> String {
    let mut table = Table::new(&[
        ("dataset", Align::Left),
        ("", Align::Left),
        ("task", Align::Left),
        ("version", Align::Right),
        ("rows", Align::Right),
        ("bytes", Align::Right),
    ]);
    let version = |version: &Option<i64>| version.map(|v| v.to_string()).unwrap_or_default();
    let mut touched: IndexMap<(String, &str, &str), [String; 3]> = IndexMap::new();
    for record in records {
        let (key, figures) = match &record.event {
            Event::ReadPinned { task, dataset, version: read, .. } => (
                (dataset.to_string(), "read", task.as_str()),
                [version(read), String::new(), String::new()],
            ),
            Event::Published { task, dataset, published, .. } => (
                (dataset.to_string(), "written", task.as_str()),
                [
                    version(&published.version),
                    output::exact(published.rows),
                    output::bytes(published.bytes),
                ],
            ),
            _ => continue,
        };
        touched.insert(key, figures);
    }
    let any = !touched.is_empty();
    for ((dataset, how, task), figures) in touched {
        let cells = [dataset, how.to_owned(), task.to_owned()];
        table.row(cells.into_iter().chain(figures).collect());
    }
    if any { table.to_string() } else { String::new() }
}

fn reports(state: &RunState) -> String {
    let mut text = String::new();
    for (name, task) in state.tasks().filter(|(_, task)| !task.report.is_empty()) {
        let _ = writeln!(text, "{name}");
        for (key, value) in &task.report {
            report_lines(&mut text, key, value, 1);
        }
    }
    text
}

fn report_lines(text: &mut String, key: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            let _ = writeln!(text, "{indent}{key}");
            for (key, value) in object {
                report_lines(text, key, value, depth + 1);
            }
        }
        Value::Number(number) if number.is_u64() => {
            let number = output::exact(number.as_u64().unwrap_or_default());
            let _ = writeln!(text, "{indent}{key}: {number}");
        }
        Value::String(value) => {
            let _ = writeln!(text, "{indent}{key}: {value}");
        }
        value => {
            let _ = writeln!(text, "{indent}{key}: {value}");
        }
    }
}
