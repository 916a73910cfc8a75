//! A plan: a pipeline with its params, interval and profile filled in, checked, and ordered.

use crate::dataset::DatasetName;
use crate::diagnostic::{self, Diagnostic};
use crate::kind::{Kind, Kinds, Write};
use crate::load::Definition;
use crate::schedule::Timetable;
use crate::spec::Schedule;
use crate::{schedule, schema, spec};
use indexmap::IndexMap;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;

mod datasets;
mod edges;
mod expressions;
mod order;
mod params;
mod planner;
mod select;
mod tasks;

/// What a plan is made for. Stored with the run: a resumed run plans with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// Params by name, as texts: `--set rows=1000`.
    pub set: Vec<(String, String)>,
    /// The project's default where `None`.
    pub profile: Option<String>,
    /// Where `None`: the day of `date`.
    pub interval: Option<Interval>,
    /// A day of the schedule's time zone, of UTC without one; the day before `now` where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Whether days are of the schedule's time zone. Earlier versions took all for days of UTC, and
    /// a run that one of them has begun goes on so.
    #[serde(default)]
    pub local_days: bool,
    pub now: Timestamp,
    /// If not empty, only these tasks.
    pub only: Vec<String>,
    /// If not empty, only these tasks and all that depend on them.
    pub from: Vec<String>,
}

impl PlanRequest {
    /// A plan of the whole pipeline with its defaults.
    pub fn new(now: Timestamp) -> Self {
        PlanRequest {
            set: Vec::new(),
            profile: None,
            interval: None,
            date: None,
            local_days: true,
            now,
            only: Vec::new(),
            from: Vec::new(),
        }
    }
}

/// What one run will do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    pub pipeline: String,
    #[serde(default)]
    pub description: Option<String>,
    /// How many runs of the pipeline there may be at once, at least 1.
    #[serde(default = "one")]
    pub max_active_runs: u32,
    /// When runs are due. The plan of a run is the same without it.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// The fire times of the schedule.
    #[serde(skip)]
    pub timetable: Option<Timetable>,
    pub profile: String,
    pub params: Map<String, Value>,
    pub interval: Interval,
    /// As in [`PlanRequest`].
    #[serde(default)]
    pub local_days: bool,
    /// In the order of the file; edges refer to their index.
    pub tasks: Vec<PlannedTask>,
    pub edges: Vec<Edge>,
    /// The tasks' indices, each after all that it depends on.
    pub order: Vec<usize>,
}

impl Plan {
    /// The time zone that the days of the run are of.
    pub fn zone(&self) -> TimeZone {
        match self.local_days {
            true => schedule::zone(self.schedule.as_ref()),
            false => TimeZone::UTC,
        }
    }
}

fn one() -> u32 {
    1
}

/// The half-open span of time `[start, end)` that a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Interval {
    /// A day of a time zone.
    pub fn of_day(day: Date, zone: &TimeZone) -> Result<Interval, jiff::Error> {
        let start = day.to_zoned(zone.clone())?;
        let end = day.tomorrow()?.to_zoned(zone.clone())?;
        Ok(Interval { start: start.timestamp(), end: end.timestamp() })
    }

    /// The day of a time zone before the one that `now` is in.
    pub fn day_before(now: Timestamp, zone: &TimeZone) -> Interval {
        let today = now.to_zoned(zone.clone()).date();
        let day = today.yesterday().unwrap_or(today);
        // The last day of all has no end; its interval is empty then.
        Interval::of_day(day, zone).unwrap_or(Interval { start: now, end: now })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedTask {
    pub name: String,
    /// The kind: what `uses:` said.
    pub kind: String,
    /// `with:`, rendered as far as the plan can.
    pub options: Value,
    /// Pointers (RFC 6901) into `options` to texts whose templates only the attempt can render:
    /// they use `tasks.` or `secrets.`.
    pub late: Vec<String>,
    pub inputs: IndexMap<String, DatasetName>,
    pub outputs: IndexMap<String, PlannedOutput>,
    /// An expression still to be evaluated right before the task, because it uses `tasks.`.
    pub when: Option<String>,
    /// Why the task will not run, if the plan could already tell from `when`.
    pub skip: Option<String>,
    pub trigger_rule: TriggerRule,
    pub retry: Retry,
    pub timeout: Option<SignedDuration>,
}

/// An output with the properties of its dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedOutput {
    pub dataset: DatasetName,
    pub write: Write,
    /// The condition of `write: replace_where`, rendered.
    pub replace_where: Option<String>,
    pub partition_by: Vec<String>,
    /// The columns that tell rows apart, for `merge` and `kv:`.
    pub key: Vec<String>,
}

/// When a task runs, given how those before it ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// All succeeded.
    #[default]
    AllSuccess,
    /// All have ended, however.
    AllDone,
    /// All have ended, and at least one failed.
    AnyFailed,
    /// All have ended, however, and also when the run is being cancelled.
    Always,
}

/// How often and after which pause a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The pause before the second attempt, at most.
    pub delay: SignedDuration,
    pub backoff: Backoff,
    /// No pause is longer.
    pub max_delay: SignedDuration,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Every pause is drawn from the same range.
    Constant,
    /// The range doubles with each attempt.
    #[default]
    Exponential,
}

/// `to` comes after `from`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub reason: EdgeReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeReason {
    /// `needs:` says so.
    Needs,
    /// `to` reads what `from` writes, and waits until `from` has succeeded.
    Dataset(DatasetName),
    /// `to` reads the topic that `from` writes, and starts together with it.
    Stream(DatasetName),
    /// An expression of `to` uses a result of `from`.
    Expression,
}

/// Makes the plan of a run: reads no file, and returns every problem at once. Beside the plan come
/// warnings.
pub fn plan(
    definition: &Definition,
    kinds: &Kinds,
    request: &PlanRequest,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    plan_with(definition, kinds, request, &Leeway::default())
}

/// What is no problem of a plan.
#[derive(Debug, Default)]
pub(crate) struct Leeway {
    /// Tasks that refer to files that could not be read: that is reported elsewhere.
    pub(crate) incomplete: HashSet<String>,
    /// Params may have no value: nothing will run.
    pub(crate) params: bool,
}

/// [`plan`] with some leeway.
pub(crate) fn plan_with(
    definition: &Definition,
    kinds: &Kinds,
    request: &PlanRequest,
    leeway: &Leeway,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let tree = definition.tree().map_err(|problem| vec![*problem])?;
    let spec = spec::read(&definition.pipeline.path, &tree)?;
    let (plan, mut problems) = planner::plan(definition, &spec, kinds, request, leeway);
    diagnostic::sort(&mut problems);
    match plan {
        Some(plan) if !problems.iter().any(Diagnostic::is_error) => Ok((plan, problems)),
        _ => Err(problems),
    }
}

/// Checks options whose last expressions were rendered for an attempt, as the plan checked the
/// others.
pub fn recheck(kind: &dyn Kind, options: &Value) -> Result<(), String> {
    match schema::check_value(&kind.options(), options, "with").as_slice() {
        [] => Ok(()),
        problems => Err(problems.join("; ")),
    }
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 1,
            delay: SignedDuration::from_secs(2),
            backoff: Backoff::Exponential,
            max_delay: SignedDuration::from_secs(60),
        }
    }
}
