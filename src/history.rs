//! `tidemill history`

use crate::completions;
use crate::output::{self, Align, Table};
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Common, Format, OK};
use anyhow::Result;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use orchestrator::duration;
use orchestrator::event::RunEnd;
use orchestrator::plan::Interval;
use orchestrator::run::ownership;
use orchestrator::store::{RunFilter, RunRow, RunStatus, Store};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill history
  tidemill history ecommerce -n 5
  tidemill history --state failed --since 7d
  tidemill history -o json | jq '.[0].run'")]
pub struct Arguments {
    /// Only runs of this pipeline
    #[arg(add = completions::pipelines())]
    pipeline: Option<String>,
    /// Only runs in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only runs that began at or after this time: 2026-11-20, 2026-11-20T06:00, or 7d ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only runs that began before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// How many, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum State {
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// Its process died; `tidemill run --resume` goes on with it
    Crashed,
}

impl State {
    const fn status(self) -> RunStatus {
        match self {
            State::Running => RunStatus::Running,
            State::Succeeded => RunStatus::Ended(RunEnd::Succeeded),
            State::Failed => RunStatus::Ended(RunEnd::Failed),
            State::Cancelled => RunStatus::Ended(RunEnd::Cancelled),
            State::Crashed => RunStatus::Crashed,
        }
    }
}

/// A date or time in the local zone, an instant, or how long ago.
fn moment(text: &str) -> std::result::Result<Timestamp, String> {
    let local = |time: DateTime| time.to_zoned(TimeZone::system()).map(|zoned| zoned.timestamp());
    let ago = || {
        let span = duration::parse(text.strip_suffix(" ago").unwrap_or(text)).ok()?;
        Timestamp::now().checked_sub(span).ok()
    };
    (text.parse::<Timestamp>().ok())
        .or_else(|| text.parse::<DateTime>().ok().and_then(|time| local(time).ok()))
        .or_else(ago)
        .ok_or_else(|| {
            format!("`{text}` is no time; write 2026-11-20, 2026-11-20T06:00, or 7d for 7 days ago")
        })
}

/// Runs in the last bars.
const BARS: usize = 30;
/// Pipelines whose last runs are drawn.
const MOST_PIPELINES: usize = 12;

/// The runs that the arguments choose, newest first, with their states.
fn find(
    store: &mut Store,
    data_dir: &Path,
    arguments: &Arguments,
) -> Result<Vec<(RunRow, RunStatus)>> {
    let created = Interval {
        start: arguments.since.unwrap_or(Timestamp::MIN),
        end: arguments.until.unwrap_or(Timestamp::MAX),
    };
    let filter = RunFilter {
        pipeline: arguments.pipeline.clone(),
        created: Some(created),
        limit: Some(arguments.limit),
        ..RunFilter::default()
    };
    Ok(ownership::find_runs(store, data_dir, filter, arguments.state.map(State::status))?)
}

/// The last runs of each pipeline as bars, oldest first: their height is how long they took.
fn bars(store: &mut Store, data_dir: &Path, names: &BTreeSet<String>) -> Result<String> {
    let mut table = Table::new(&[
        ("pipeline", Align::Left),
        ("last runs", Align::Left),
        ("succeeded", Align::Right),
    ]);
    for name in names.iter().take(MOST_PIPELINES) {
        let filter =
            RunFilter { pipeline: Some(name.clone()), limit: Some(BARS), ..RunFilter::default() };
        let mut rows = store.runs(&filter)?;
        rows.reverse();
        let took = |row: &RunRow| row.ended_at.map(|end| row.created_at.duration_until(end));
        let longest = rows.iter().filter_map(took).max().unwrap_or_default();
        let mut drawn = String::new();
        let (mut over, mut good) = (0, 0);
        for row in &rows {
            let status = pipeline::status(row, data_dir);
            over += usize::from(status != RunStatus::Running);
            good += usize::from(status == RunStatus::Ended(RunEnd::Succeeded));
            let (style, mark) = output::state(status.as_str());
            let sign = match (status, took(row)) {
                (RunStatus::Ended(RunEnd::Succeeded), Some(took)) => output::bar(took, longest),
                _ => mark,
            };
            let _ = write!(drawn, "{style}{sign}{style:#}");
        }
        table.row(vec![name.clone(), drawn, format!("{good} of {over}")]);
    }
    let more = match names.len().saturating_sub(MOST_PIPELINES) {
        0 => String::new(),
        more => format!("and {more} more pipelines\n"),
    };
    Ok(format!("{table}{more}"))
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let rows = find(&mut store, &data_dir, arguments)?;
    if arguments.output == Format::Json {
        let runs: Vec<_> = rows
            .iter()
            .map(|(row, status)| {
                json!({
                    "run": row.id,
                    "pipeline": row.pipeline,
                    "state": status.as_str(),
                    "trigger": row.trigger.as_str(),
                    "pid": row.pid.filter(|_| row.end.is_none()),
                    "created_at": row.created_at,
                    "ended_at": row.ended_at,
                    "interval_start": row.interval.start,
                    "interval_end": row.interval.end,
                })
            })
            .collect();
        print_json(&runs)?;
        return Ok(OK);
    }
    if rows.is_empty() {
        let of = arguments.pipeline.as_ref().map(|name| format!(" of `{name}`"));
        let those =
            arguments.state.is_some() || arguments.since.is_some() || arguments.until.is_some();
        let end = if those { "that are asked for" } else { "yet" };
        print(&format!("no runs{} {end}\n", of.unwrap_or_default()))?;
        return Ok(OK);
    }
    let names: BTreeSet<String> = rows.iter().map(|(row, _)| row.pipeline.clone()).collect();
    print(&format!("{}\n", bars(&mut store, &data_dir, &names)?))?;
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("pipeline", Align::Left),
        ("state", Align::Left),
        ("interval", Align::Left),
        ("started", Align::Left),
        ("duration", Align::Right),
    ]);
    let mut crashed = false;
    for (row, status) in &rows {
        crashed |= *status == RunStatus::Crashed;
        let duration = row.ended_at.map(|end| row.created_at.duration_until(end));
        table.row(vec![
            output::run_id(&row.id).to_owned(),
            row.pipeline.clone(),
            output::state_label(status.as_str()),
            // Of its pipeline no more is known here than its name.
            pipeline::interval(row.interval, &TimeZone::UTC),
            output::time(row.created_at),
            duration.map(output::duration).unwrap_or_default(),
        ]);
    }
    let table = table.without(&["interval", "duration"]);
    print(&format!("{table}\ntimes: {}\n", output::zone()))?;
    if crashed {
        print("A crashed run can be finished: tidemill run --resume RUN\n")?;
    }
    Ok(OK)
}
