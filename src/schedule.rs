//! `tidemill schedule`

use crate::stdout::{print, print_json};
use crate::validate::files;
use crate::{Common, Format, INVALID, OK};
use crate::{arguments, pipeline};
use anyhow::Result;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use orchestrator::load;
use orchestrator::plan::{Interval, Plan};
use orchestrator::schedule::Timetable;
use orchestrator::store::{Fate, FireRow, Store};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill schedule   all in `pipelines`
  tidemill schedule pipelines/ecommerce_nightly.yaml -n 10
  tidemill schedule -o json | jq '.[].next[0].at'

A run that is due at a time is about the interval that ends there. Below the next runs stand the
nights on which the clocks of the time zone change, with what is due on those days, and what the
daemon has left out lately, with its reason. Exit code: 2 if a pipeline has problems, else 0.")]
pub struct Arguments {
    /// Pipelines, or directories of pipelines
    #[arg(default_value = "pipelines", value_parser = arguments::pipelines_path())]
    paths: Vec<PathBuf>,
    /// How many of the next runs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    next: usize,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (kinds, now) = (pipeline::kinds(), Timestamp::now());
    let (mut code, mut known) = (OK, Vec::new());
    for path in files(&arguments.paths)? {
        match load::validate(&path, &kinds, now) {
            Ok((plan, _)) => {
                let (paused, fires) = decided(common, &path, &plan.pipeline)?;
                let Plan { pipeline, timetable, .. } = plan;
                known.push(Due { path, pipeline, timetable, paused, fires });
            }
            Err(problems) => {
                pipeline::complain(&problems);
                code = INVALID;
            }
        }
    }
    match arguments.output {
        Format::Json => {
            let all: Vec<Value> = known.iter().map(|due| due.json(now, arguments.next)).collect();
            print_json(&all)?;
        }
        Format::Text => {
            let all: Vec<String> = known.iter().map(|due| due.text(now, arguments.next)).collect();
            print(&all.join("\n"))?;
        }
    }
    Ok(code)
}

/// Whether a schedule is paused, and the fire times that wait or were left out lately.
fn decided(common: &Common, path: &Path, pipeline: &str) -> Result<(bool, Vec<FireRow>)> {
    let data_dir = pipeline::data_dir(common, path.parent().unwrap_or(Path::new(".")))?;
    let Some(mut store) = Store::open_existing(&data_dir)? else { return Ok((false, Vec::new())) };
    let mut fires = store.fires(pipeline, LATELY)?;
    fires.retain(|row| !matches!(row.fate, Fate::Run(_)));
    fires.reverse();
    Ok((store.is_paused(pipeline)? == Some(true), fires))
}

struct Due {
    path: PathBuf,
    pipeline: String,
    /// `None`: it has no schedule.
    timetable: Option<Timetable>,
    paused: bool,
    /// Oldest first.
    fires: Vec<FireRow>,
}

/// How far back what was decided is shown.
const LATELY: usize = 10;

/// The most that is shown of a day on which the clocks change.
const OF_A_DAY: usize = 6;

/// A moment at which the clocks change, and what is due on its day.
struct Change {
    at: Timestamp,
    fires: Vec<Timestamp>,
    more: usize,
}

fn changes(timetable: &Timetable, now: Timestamp) -> Vec<Change> {
    let zone = timetable.zone();
    let change = |at: Timestamp| {
        let day = at.to_zoned(zone.clone()).start_of_day().ok()?;
        let (first, end) = (day.timestamp(), day.tomorrow().ok()?.timestamp());
        let before = first.checked_sub(1.second()).ok()?;
        let mut fires: Vec<Timestamp> =
            timetable.after(before).take_while(|time| *time < end).collect();
        let more = fires.len().saturating_sub(OF_A_DAY);
        // Those nearest to the change say most.
        fires.sort_by_key(|time| time.duration_until(at).abs());
        fires.truncate(OF_A_DAY);
        fires.sort();
        Some(Change { at, fires, more })
    };
    timetable.clock_changes(now).into_iter().filter_map(change).collect()
}

impl Due {
    fn text(&self, now: Timestamp, count: usize) -> String {
        let bold = anstyle::Style::new().bold();
        let dim = anstyle::Style::new().dimmed();
        let name = &self.pipeline;
        let Some(timetable) = &self.timetable else {
            return format!(
                "{bold}{name}{bold:#}: no schedule {dim}{}{dim:#}\n",
                self.path.display()
            );
        };
        let mut text = format!(
            "{bold}{name}{bold:#}: {} {dim}{}{dim:#}\n",
            timetable.words(),
            self.path.display()
        );
        let zone = timetable.zone();
        if self.paused {
            let path = self.path.display();
            let _ = writeln!(text, "  paused; `tidemill unpause {path}` goes on");
        }
        for row in &self.fires {
            let _ = writeln!(text, "  {}", fate(row, &zone));
        }
        for fire in timetable.after(now).take(count) {
            let about = interval(timetable.interval(fire), &zone);
            let _ = writeln!(text, "  {}  {dim}{about}{dim:#}", moment(fire, &zone));
        }
        for change in changes(timetable, now) {
            let (from, to) = clocks(change.at, &zone);
            let _ = writeln!(
                text,
                "  {}: {} becomes {}",
                to.strftime("on %a %Y-%m-%d the clocks change"),
                from.strftime("%H:%M %:z"),
                to.strftime("%H:%M %:z")
            );
            for fire in &change.fires {
                let _ = writeln!(text, "    {}", moment(*fire, &zone));
            }
            match (change.fires.len(), change.more) {
                (0, _) => text.push_str("    nothing is due on that day\n"),
                (_, 0) => {}
                (_, more) => {
                    let _ = writeln!(text, "    and {more} more on that day");
                }
            }
        }
        text
    }

    fn json(&self, now: Timestamp, count: usize) -> Value {
        let Due { path, pipeline, timetable, paused, fires } = self;
        let Some(timetable) = timetable else {
            return json!({"pipeline": pipeline, "file": path, "words": null, "next": []});
        };
        let fire = |fire: Timestamp| {
            let Interval { start, end } = timetable.interval(fire);
            json!({"at": fire, "interval_start": start, "interval_end": end})
        };
        let decided = |row: &FireRow| {
            let why = match &row.fate {
                Fate::LeftOut(why) => why.as_str(),
                _ => "queued",
            };
            json!({"first": row.first, "last": row.last, "count": row.count, "fate": why})
        };
        let changes = changes(timetable, now);
        let changes: Vec<Value> = changes
            .iter()
            .map(|change| json!({"at": change.at, "due": change.fires, "more": change.more}))
            .collect();
        json!({
            "pipeline": pipeline,
            "file": path,
            "words": timetable.words(),
            "paused": paused,
            "not_run": fires.iter().map(decided).collect::<Vec<_>>(),
            "next": timetable.after(now).take(count).map(fire).collect::<Vec<_>>(),
            "clock_changes": changes,
        })
    }
}

/// What became of fire times that are not run, or not yet.
fn fate(row: &FireRow, zone: &TimeZone) -> String {
    let span = match row.count {
        1 => moment(row.first, zone),
        count => {
            format!("{} to {}, {count} times", moment(row.first, zone), moment(row.last, zone))
        }
    };
    match &row.fate {
        Fate::LeftOut(why) => format!("{span}  not run: {}", why.sentence()),
        _ => format!("{span}  waits for its run"),
    }
}

fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string()
}

/// What the clocks show when they change, and right after it.
fn clocks(change: Timestamp, zone: &TimeZone) -> (Zoned, Zoned) {
    let before = change.checked_sub(1.second()).unwrap_or(change);
    let old = zone.to_offset(before).to_time_zone();
    (change.to_zoned(old), change.to_zoned(zone.clone()))
}

fn interval(interval: Interval, zone: &TimeZone) -> String {
    let local = |at: Timestamp| at.to_zoned(zone.clone());
    let (start, end) = (local(interval.start), local(interval.end));
    let end = match start.date() == end.date() {
        true => end.strftime("%H:%M").to_string(),
        false => end.strftime("%Y-%m-%d %H:%M").to_string(),
    };
    format!("for {} to {end}", start.strftime("%Y-%m-%d %H:%M"))
}
