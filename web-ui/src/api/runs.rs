//! Runs.

use super::{Asked, Problem, check_count, fifty};
use crate::Site;
use crate::failure::Failure;
use crate::runs::{RunView, find};
use crate::{logs, pages};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use jiff::Timestamp;
use orchestrator::event::RunEnd;
use orchestrator::store::{Record, RunFilter, RunRow, RunStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A run.
#[derive(Serialize, ToSchema)]
pub(super) struct Run {
    run: String,
    pipeline: String,
    /// `running`, `succeeded`, `failed`, `cancelled` or `crashed`.
    state: &'static str,
    /// `manual`, `schedule`, `backfill` or `web`.
    trigger: &'static str,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    interval_start: Timestamp,
    interval_end: Timestamp,
}

impl Run {
    fn of(row: &RunRow, status: RunStatus) -> Run {
        Run {
            run: row.id.clone(),
            pipeline: row.pipeline.clone(),
            state: status.as_str(),
            trigger: row.trigger.as_str(),
            created_at: row.created_at,
            ended_at: row.ended_at,
            interval_start: row.interval.start,
            interval_end: row.interval.end,
        }
    }
}

/// A task of a run.
#[derive(Serialize, ToSchema)]
pub(super) struct Task {
    task: String,
    kind: String,
    /// `waiting`, `running`, `crashed`, `succeeded`, `failed`, `cancelled`, `skipped` or
    /// `upstream_failed`.
    state: &'static str,
    attempts: u32,
    rows_in: u64,
    rows_out: u64,
    bytes_out: u64,
    duration_ms: Option<i64>,
    /// How much is done, from 0 to 1, of a task at work that knows.
    share: Option<f64>,
    /// Why it ended as it did, or why the last attempt failed.
    reason: Option<String>,
    /// What the kind has to tell of its work.
    #[schema(value_type = Object)]
    report: Map<String, Value>,
}

/// A run with its tasks.
#[derive(Serialize, ToSchema)]
pub(super) struct RunDetail {
    #[serde(flatten)]
    run: Run,
    profile: String,
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    tasks: Vec<Task>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    pipeline: Option<String>,
    #[param(inline)]
    state: Option<Chosen>,
    /// Only runs older than this one: the last of the answer before.
    before: Option<String>,
    /// How many, newest first.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: usize,
}

/// A state that runs can be chosen by.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Chosen {
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Crashed,
}

/// Runs, newest first.
#[utoipa::path(
    get,
    path = "/runs",
    params(Wanted),
    responses((status = OK, body = Vec<Run>), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, description = "there is no run `before`", body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Vec<Run>>, Failure> {
    check_count("limit", wanted.limit)?;
    site.ask(move |site, store| {
        let Wanted { pipeline, state, before, limit } = wanted;
        let state = state.map(|chosen| match chosen {
            Chosen::Running => RunStatus::Running,
            Chosen::Crashed => RunStatus::Crashed,
            Chosen::Succeeded => RunStatus::Ended(RunEnd::Succeeded),
            Chosen::Failed => RunStatus::Ended(RunEnd::Failed),
            Chosen::Cancelled => RunStatus::Ended(RunEnd::Cancelled),
        });
        let before = match before {
            None => None,
            Some(run) => {
                let row = store.find_run(&run)?;
                Some((row.created_at, row.id))
            }
        };
        let filter = RunFilter { pipeline, before, limit: Some(limit), ..RunFilter::default() };
        let found = find(site, store, filter, state)?;
        Ok(Json(found.iter().map(|(row, status)| Run::of(row, *status)).collect()))
    })
    .await
}

/// One run, with its tasks.
#[utoipa::path(
    get,
    path = "/runs/{run}",
    params(("run" = String, Path, description = "its id, a unique beginning or end of it, or `latest`")),
    responses((status = OK, body = RunDetail), (status = BAD_REQUEST, description = "several runs are meant", body = Problem, content_type = "application/problem+json"), (status = UNPROCESSABLE_ENTITY, description = "its definition can't be read by this version", body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    Path(run): Path<String>,
) -> Result<Json<RunDetail>, Failure> {
    site.ask(move |site, store| {
        let view = RunView::load(site, store, &run)?;
        let end = view.end(Timestamp::now());
        let planned = view.plan().tasks.iter();
        let task = |(planned, (name, task)): (
            &orchestrator::plan::PlannedTask,
            (&str, &orchestrator::run::TaskState),
        )| {
            let counts = view.counts(name, task);
            Task {
                task: name.to_owned(),
                kind: planned.kind.clone(),
                state: view.task_state(task),
                attempts: task.attempts,
                rows_in: counts.rows_in,
                rows_out: counts.rows_out,
                bytes_out: counts.bytes_out,
                duration_ms: (view.timeline.task(name, end))
                    .map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
                share: view.share(name, task),
                reason: task.reason.clone(),
                report: task.report.clone(),
            }
        };
        Ok(Json(RunDetail {
            run: Run::of(&view.row, view.status),
            profile: view.plan().profile.clone(),
            params: view.plan().params.clone(),
            tasks: planned.zip(view.state.tasks()).map(task).collect(),
        }))
    })
    .await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Only events behind this number.
    #[serde(default)]
    after: u64,
}

/// The journal of a run: its events, in order.
#[utoipa::path(
    get,
    path = "/runs/{run}/events",
    params(After),
    responses((status = OK, body = Vec<Object>), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    Path(run): Path<String>,
    Asked(After { after }): Asked<After>,
) -> Result<Json<Vec<Value>>, Failure> {
    site.ask(move |_, store| {
        let row = store.find_run(&run)?;
        // The store counts in signed numbers.
        let records = match i64::try_from(after) {
            Ok(_) => store.events(&row.id, after)?,
            Err(_) => Vec::new(),
        };
        Ok(Json(records.iter().map(Record::to_json).collect()))
    })
    .await
}

/// What a task said, all attempts.
#[utoipa::path(
    get,
    path = "/runs/{run}/tasks/{task}/log",
    responses((status = OK, body = String, content_type = "text/plain"), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn log(
    State(site): State<Arc<Site>>,
    Path((run, task)): Path<(String, String)>,
) -> Result<logs::WholeLog, Failure> {
    logs::whole(&site, run, task).await
}

/// Asks a run to stop; it stops soon after.
#[utoipa::path(
    post,
    path = "/runs/{run}/cancel",
    responses((status = ACCEPTED), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"), (status = CONFLICT, description = "it is not running", body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn cancel(
    State(site): State<Arc<Site>>,
    Path(run): Path<String>,
) -> Result<StatusCode, Failure> {
    site.ask(move |site, store| {
        pages::request_cancel(site, store, &run, "somebody cancelled it by the API")
    })
    .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Goes on with a run whose process died.
#[utoipa::path(
    post,
    path = "/runs/{run}/resume",
    responses((status = ACCEPTED), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"), (status = CONFLICT, description = "it is running, or has ended", body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn resume(
    State(site): State<Arc<Site>>,
    Path(run): Path<String>,
) -> Result<StatusCode, Failure> {
    site.ask(move |site, store| {
        let row = store.find_run(&run)?;
        Ok(site.daemon.resume(&row.id)?)
    })
    .await?;
    Ok(StatusCode::ACCEPTED)
}
