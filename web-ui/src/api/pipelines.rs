//! Pipelines and their schedules.

use super::{Asked, Given, Problem, check_count};
use crate::Site;
use crate::daemon::{KnownPipeline, Start};
use crate::failure::Failure;
use crate::pages;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A pipeline of the daemon's directory.
#[derive(Serialize, ToSchema)]
pub(super) struct Pipeline {
    name: String,
    file: String,
    /// Whether there is a version of it that can be run.
    valid: bool,
    description: Option<String>,
    /// The schedule in words.
    schedule: Option<String>,
    paused: bool,
    /// When it is due next.
    next: Option<Timestamp>,
    /// What is wrong with its file, as the terminal shows it.
    problems: Option<String>,
}

impl Pipeline {
    fn of(known: &KnownPipeline, paused: bool, now: Timestamp) -> Pipeline {
        let timetable = known.schedule.as_ref().map(|schedule| schedule.timetable());
        Pipeline {
            name: known.name.clone(),
            file: known.path.display().to_string(),
            valid: known.valid,
            description: known.description.clone(),
            schedule: timetable.map(|timetable| timetable.words()),
            paused,
            next: timetable.filter(|_| !paused).and_then(|timetable| timetable.next(now)),
            problems: known.problems.clone(),
        }
    }
}

/// The pipelines of the daemon's directory, by name.
#[utoipa::path(get, path = "/pipelines", responses((status = OK, body = Vec<Pipeline>)))]
pub(super) async fn list(State(site): State<Arc<Site>>) -> Result<Json<Vec<Pipeline>>, Failure> {
    site.ask(|site, store| {
        let (paused, now) = (store.paused()?, Timestamp::now());
        let all = site.daemon.pipelines();
        let of = |known: &KnownPipeline| Pipeline::of(known, paused.contains(&known.name), now);
        Ok(Json(all.iter().map(of).collect()))
    })
    .await
}

/// One pipeline.
#[utoipa::path(
    get,
    path = "/pipelines/{name}",
    responses((status = OK, body = Pipeline), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Result<Json<Pipeline>, Failure> {
    site.ask(move |site, store| {
        let paused = store.is_paused(&name)? == Some(true);
        Ok(Json(Pipeline::of(&site.known(&name)?, paused, Timestamp::now())))
    })
    .await
}

/// What a run is started with; all of it may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NewRun {
    /// Values of params, by name.
    #[schema(value_type = BTreeMap<String, Value>)]
    params: BTreeMap<String, Value>,
    profile: Option<String>,
    /// The day that the run is about, such as `2026-11-23`, in the time zone of the schedule;
    /// yesterday by default.
    #[schema(value_type = Option<String>, format = Date)]
    date: Option<Date>,
    /// Only these tasks, and all that come after them.
    from: Vec<String>,
}

/// A run that has been started.
#[derive(Serialize, ToSchema)]
pub(super) struct Started {
    run: String,
}

/// Starts a run.
#[utoipa::path(
    post,
    path = "/pipelines/{name}/runs",
    request_body = NewRun,
    responses(
        (status = CREATED, body = Started),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "as many runs as may be are active", body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "the values do not fit", body = Problem, content_type = "application/problem+json"),
        (status = BAD_REQUEST, description = "it is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "it is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn start(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Given(new): Given<NewRun>,
) -> Result<(StatusCode, Json<Started>), Failure> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let start = Start {
        pipeline: name,
        set: new.params.into_iter().map(|(name, value)| (name, text(value))).collect(),
        profile: new.profile,
        date: new.date,
        like: None,
        from: new.from,
    };
    let run = site.ask(move |site, _| Ok(site.daemon.start(start)?)).await?;
    Ok((StatusCode::CREATED, Json(Started { run })))
}

/// Makes no runs of a pipeline's schedule.
#[utoipa::path(
    post,
    path = "/pipelines/{name}/pause",
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"), (status = CONFLICT, description = "it has no schedule", body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn pause(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    site.ask(move |site, store| pages::set_paused(site, store, &name, true)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes runs of a pipeline's schedule again.
#[utoipa::path(
    post,
    path = "/pipelines/{name}/unpause",
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"), (status = CONFLICT, description = "it has no schedule", body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn unpause(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    site.ask(move |site, store| pages::set_paused(site, store, &name, false)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Count {
    /// How many.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 1000, default = 10)]
    count: usize,
}

fn ten() -> usize {
    10
}

/// When a pipeline is due, and what the run is about then.
#[derive(Serialize, ToSchema)]
pub(super) struct Due {
    at: Timestamp,
    interval_start: Timestamp,
    interval_end: Timestamp,
}

/// When a pipeline is due next.
#[utoipa::path(
    get,
    path = "/pipelines/{name}/schedule",
    params(Count),
    responses((status = OK, body = Vec<Due>), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"), (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn schedule(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Asked(Count { count }): Asked<Count>,
) -> Result<Json<Vec<Due>>, Failure> {
    check_count("count", count)?;
    let known = site.known(&name)?;
    let Some(schedule) = &known.schedule else { return Ok(Json(Vec::new())) };
    let timetable = schedule.timetable();
    let due = |at| {
        let interval = timetable.interval(at);
        Due { at, interval_start: interval.start, interval_end: interval.end }
    };
    Ok(Json(timetable.after(Timestamp::now()).take(count).map(due).collect()))
}
