//! `tidemill backfill`: runs for intervals of the past.

use crate::arguments::{self, misuse, parse_day, parse_setting};
use crate::pipeline;
use crate::stdout::print;
use crate::{CANCELLED, Common, FAILED, Format, INVALID, OK, output, process, signals};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use orchestrator::diagnostic::Problems;
use orchestrator::event::RunEnd;
use orchestrator::load::{self, Definition};
use orchestrator::plan::{Interval, PlanRequest};
use orchestrator::run::ownership::RunLock;
use orchestrator::scheduler::Scheduled;
use orchestrator::store::{RunRow, RunStatus, Store, Trigger};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill backfill nightly.yaml --from 2026-11-01 --to 2026-11-20 --dry-run
  tidemill backfill nightly.yaml --from 2026-11-01 --to 2026-11-20 --parallel 2
  tidemill backfill nightly.yaml --from 2026-11-01 --missing-only
  tidemill backfill nightly.yaml --from 2026-11-01 -o json | jq -r .run

The intervals are those of the pipeline's schedule that begin on these days, both included, in the
schedule's time zone; without a schedule, days of UTC. A run that fails does not stop the others.
Ctrl-C cancels the active runs; the same command with --missing-only goes on later, also after a
kill. A backfill never holds back a run that is due. Exit code: 1 if a run failed.")]
pub struct Arguments {
    /// The pipeline's YAML file
    #[arg(value_parser = arguments::pipeline_path())]
    file: PathBuf,
    /// The first day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    from: Date,
    /// The last day [default: the last whose interval has ended]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    to: Option<Date>,
    /// Runs that may be active at once
    #[arg(long, value_name = "N", default_value = "1")]
    parallel: NonZeroUsize,
    /// Leave out intervals that have a run that succeeded, and go on with runs that were killed
    #[arg(long)]
    missing_only: bool,
    /// Say which runs would be made, and make none
    #[arg(long)]
    dry_run: bool,
    /// Set a parameter; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
    /// Profile of tidemill.yaml [default: the one it names, else embedded]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// `json`: an object a line, for each interval that is left out, each run that begins and ends
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What is done about an interval.
enum Step {
    New,
    Resume(String),
    /// It is left out; why.
    Leave(String),
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (file, now) = (&arguments.file, Timestamp::now());
    let request = |interval| PlanRequest {
        set: arguments.set.clone(),
        profile: arguments.profile.clone(),
        interval: Some(interval),
        ..PlanRequest::new(now)
    };
    // The definition is read once: all runs have the same.
    let (definition, plan, warnings) = match load::load_and_plan(
        file,
        &pipeline::kinds(),
        &request(Interval::day_before(now, &TimeZone::UTC)),
    ) {
        Ok(loaded) => loaded,
        Err(problems) => {
            pipeline::complain(&problems);
            return Ok(INVALID);
        }
    };
    pipeline::complain(&Problems { diagnostics: warnings, sources: definition.sources() });
    let scheduled = Scheduled::of(&plan);
    let intervals = intervals(scheduled.as_ref(), arguments.from, arguments.to, now)?;
    let data_dir = pipeline::data_dir(common, file.parent().unwrap_or(Path::new(".")))?;
    let mut store = Store::open(&data_dir)?;
    let steps = steps(&mut store, &data_dir, &plan.pipeline, &intervals, arguments.missing_only)?;
    let mut queue = VecDeque::new();
    for (interval, step) in intervals.into_iter().zip(steps) {
        let about = pipeline::interval(interval, &plan.zone());
        let text = match &step {
            Step::Leave(why) => format!("{about}  left out: {why}\n"),
            Step::Resume(run) => format!("{about}  resumes run {run}\n"),
            Step::New => format!("{about}  a new run\n"),
        };
        match step {
            Step::New | Step::Resume(_) if !arguments.dry_run => queue.push_back((interval, step)),
            _ if arguments.output == Format::Text => print(&text)?,
            Step::Leave(why) => say(interval, json!({"step": "left_out", "reason": why}))?,
            Step::Resume(run) => say(interval, json!({"step": "resume", "run": run}))?,
            Step::New => say(interval, json!({"step": "new"}))?,
        }
    }
    if queue.is_empty() {
        return Ok(OK);
    }
    let (outbox, inbox) = channel();
    let tell = outbox.clone();
    signals::each(move || tell.send(Message::Stop).is_ok())?;
    let program = std::env::current_exe().context("cannot find the program of tidemill")?;
    let mut backfill = Backfill {
        program,
        data_dir,
        store,
        zone: plan.zone(),
        pipeline: plan.pipeline,
        definition,
        request: Box::new(request),
        outbox,
        active: BTreeSet::new(),
        ended: BTreeMap::new(),
        output: arguments.output,
    };
    backfill.run(queue, &inbox, arguments.parallel.get())
}

/// Prints what becomes of an interval, for programs.
fn say(interval: Interval, what: Value) -> Result<()> {
    let mut line = json!({"interval_start": interval.start, "interval_end": interval.end});
    if let (Some(line), Value::Object(what)) = (line.as_object_mut(), what) {
        line.extend(what);
    }
    Ok(print(&format!("{line}\n"))?)
}

/// The intervals that begin from the day `from` to the day `to`.
fn intervals(
    scheduled: Option<&Scheduled>,
    from: Date,
    to: Option<Date>,
    now: Timestamp,
) -> Result<Vec<Interval>> {
    let zone = scheduled.map_or(TimeZone::UTC, |scheduled| scheduled.timetable().zone());
    let begins = |day: Date| Ok::<_, jiff::Error>(day.to_zoned(zone.clone())?.timestamp());
    let start = begins(from)?;
    let end = match to {
        Some(to) if to < from => {
            return Err(misuse(format!("--to {to} is before --from {from}")));
        }
        Some(to) => begins(to.tomorrow()?)?,
        None => now,
    };
    let has_ended = |interval: &Interval| interval.end <= now;
    let found: Vec<Interval> = match scheduled {
        None => std::iter::successors(Some(from), |day| day.tomorrow().ok())
            .map_while(|day| Interval::of_day(day, &TimeZone::UTC).ok())
            .take_while(|day| day.start < end && has_ended(day))
            .collect(),
        Some(scheduled) => {
            let timetable = scheduled.timetable();
            let all = timetable.after(start).map(|fire| timetable.interval(fire));
            all.skip_while(|interval| interval.start < start)
                .take_while(|interval| interval.start < end && has_ended(interval))
                .collect()
        }
    };
    if found.is_empty() {
        bail!("no interval of the pipeline begins on these days and has ended");
    }
    Ok(found)
}

fn steps(
    store: &mut Store,
    data_dir: &Path,
    pipeline: &str,
    intervals: &[Interval],
    missing_only: bool,
) -> Result<Vec<Step>> {
    let (Some(first), Some(last)) = (intervals.first(), intervals.last()) else {
        return Ok(Vec::new());
    };
    let span = Interval { start: first.start, end: last.end };
    let known = store.runs_about(pipeline, span)?;
    let step = |interval: &Interval| {
        let of: Vec<(&RunRow, RunStatus)> = (known.iter())
            .filter(|row| row.interval == *interval)
            .map(|row| (row, pipeline::status(row, data_dir)))
            .collect();
        let in_state = |wanted| of.iter().rfind(|(_, state)| *state == wanted).map(|(row, _)| row);
        if let Some(row) = in_state(RunStatus::Running) {
            return Step::Leave(format!("run {} is active", row.id));
        }
        if !missing_only {
            return Step::New;
        }
        match (in_state(RunStatus::Ended(RunEnd::Succeeded)), in_state(RunStatus::Crashed)) {
            (Some(row), _) => Step::Leave(format!("run {} succeeded", row.id)),
            (None, Some(row)) => Step::Resume(row.id.clone()),
            (None, None) => Step::New,
        }
    };
    Ok(intervals.iter().map(step).collect())
}

enum Message {
    RunEnded(String),
    Stop,
}

struct Backfill<'a> {
    program: PathBuf,
    data_dir: PathBuf,
    store: Store,
    pipeline: String,
    /// What its days are of.
    zone: TimeZone,
    definition: Definition,
    request: Box<dyn Fn(Interval) -> PlanRequest + 'a>,
    outbox: Sender<Message>,
    active: BTreeSet<String>,
    /// How many runs have ended, by their state.
    ended: BTreeMap<&'static str, usize>,
    output: Format,
}

impl Backfill<'_> {
    fn run(
        &mut self,
        mut queue: VecDeque<(Interval, Step)>,
        inbox: &Receiver<Message>,
        parallel: usize,
    ) -> Result<u8> {
        let mut stopped = false;
        loop {
            while self.active.len() < parallel
                && let Some((interval, step)) = queue.pop_front()
            {
                self.start(interval, step)?;
            }
            if self.active.is_empty() {
                break;
            }
            match inbox.recv().context("nothing is waited for any more")? {
                Message::RunEnded(run) => self.ended(&run, queue.len())?,
                // Once more stops at once; what is active goes on by itself.
                Message::Stop if stopped => return Ok(CANCELLED),
                Message::Stop => {
                    stopped = true;
                    queue.clear();
                    for run in &self.active {
                        self.store.request_cancel(
                            run,
                            Timestamp::now(),
                            "the backfill was stopped",
                        )?;
                    }
                    anstream::eprintln!("cancels the active runs; once more stops at once");
                }
            }
        }
        if self.output == Format::Text {
            let counts: Vec<String> =
                self.ended.iter().map(|(state, count)| format!("{count} {state}")).collect();
            print(&format!("\n{}: {}\n", self.pipeline, counts.join(", ")))?;
        }
        Ok(match self.ended.keys().all(|state| *state == RunEnd::Succeeded.as_str()) {
            _ if stopped => CANCELLED,
            true => OK,
            false => FAILED,
        })
    }

    fn start(&mut self, interval: Interval, step: Step) -> Result<()> {
        let lock = |run: &str| {
            RunLock::acquire(&self.data_dir, run)
                .with_context(|| format!("cannot lock run {run}"))?
                .with_context(|| format!("run {run} has just been taken over by another process"))
        };
        let (name, run, lock) = match step {
            Step::Resume(run) => {
                let lock = lock(&run)?;
                ("resume", run, lock)
            }
            _ => {
                let request = (self.request)(interval);
                let (definition, pipeline) = (&self.definition, &self.pipeline);
                let new =
                    pipeline::new_run(definition, &request, pipeline, interval, Trigger::Backfill)?;
                let lock = lock(&new.id)?;
                // As many as --parallel says may be active, beside all others.
                let made = self.store.create_run(&new, usize::MAX, |_| false)?;
                debug_assert!(made.is_ok(), "there is no limit");
                ("new", new.id, lock)
            }
        };
        if self.output == Format::Json {
            say(interval, json!({"step": name, "run": run, "state": "running"}))?;
        }
        let child = process::start(&self.program, &self.data_dir, &run, lock)?;
        let outbox = self.outbox.clone();
        process::tell_its_end(self.data_dir.clone(), run.clone(), Some(child), move |run| {
            // Nobody listens any more when the backfill ends.
            let _ = outbox.send(Message::RunEnded(run));
        })?;
        self.active.insert(run);
        Ok(())
    }

    fn ended(&mut self, run: &str, waiting: usize) -> Result<()> {
        let row = self.store.find_run(run)?;
        let state = pipeline::status(&row, &self.data_dir).as_str();
        *self.ended.entry(state).or_default() += 1;
        self.active.remove(run);
        let took = row.ended_at.map(|end| row.created_at.duration_until(end));
        if self.output == Format::Json {
            let took_ms = took.map(|took| took.as_millis() as i64);
            let ended =
                json!({"step": "ended", "run": run, "state": state, "duration_ms": took_ms});
            return say(row.interval, ended);
        }
        let about = pipeline::interval(row.interval, &self.zone);
        let left = waiting + self.active.len();
        print(&format!(
            "{about}  {} in {}, run {run}; {left} left\n",
            output::state_label(state),
            took.map(output::duration).unwrap_or_default()
        ))?;
        Ok(())
    }
}
