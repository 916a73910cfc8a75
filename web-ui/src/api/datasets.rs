//! Datasets, their versions, and what is made of what.

use super::{Asked, Problem, check_count, fifty};
use crate::Site;
use crate::failure::Failure;
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use orchestrator::dataset::DatasetName;
use orchestrator::store::DatasetVersion;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// What a run has written to a dataset.
#[derive(Serialize, ToSchema)]
pub(super) struct Version {
    dataset: String,
    /// Where its place has versions.
    version: Option<i64>,
    rows: u64,
    bytes: u64,
    written_at: Timestamp,
    run: String,
    task: String,
    schema: Vec<Column>,
}

#[derive(Serialize, ToSchema)]
struct Column {
    name: String,
    r#type: String,
}

impl From<DatasetVersion> for Version {
    fn from(version: DatasetVersion) -> Version {
        let column = |(name, r#type)| Column { name, r#type };
        Version {
            dataset: version.dataset,
            version: version.version,
            rows: version.rows,
            bytes: version.bytes,
            written_at: version.at,
            run: version.run,
            task: version.task,
            schema: version.schema.into_iter().map(column).collect(),
        }
    }
}

/// All datasets, each with its newest version.
#[utoipa::path(get, path = "/datasets", responses((status = OK, body = Vec<Version>)))]
pub(super) async fn list(State(site): State<Arc<Site>>) -> Result<Json<Vec<Version>>, Failure> {
    site.ask(|_, store| Ok(Json(store.newest_versions()?.into_iter().map(Version::from).collect())))
        .await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Its name, such as `table:orders`.
    dataset: String,
    /// Only versions older than the last of the answer before: its `written_at` ...
    #[param(value_type = Option<String>, format = DateTime)]
    before: Option<Timestamp>,
    /// ... and its `run`.
    run: Option<String>,
    /// How many, newest first.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: usize,
}

/// The versions of a dataset, newest first.
#[utoipa::path(
    get,
    path = "/versions",
    params(Wanted),
    responses((status = OK, body = Vec<Version>), (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn versions(
    State(site): State<Arc<Site>>,
    Asked(Wanted { dataset, before, run, limit }): Asked<Wanted>,
) -> Result<Json<Vec<Version>>, Failure> {
    check_count("limit", limit)?;
    let dataset: DatasetName =
        dataset.parse().map_err(|error: orchestrator::dataset::DatasetNameError| {
            Failure::bad_request(error.to_string())
        })?;
    site.ask(move |_, store| {
        let before = before.map(|at| (at, run.as_deref().unwrap_or_default()));
        let versions = store.versions_of(&dataset, before, limit)?;
        Ok(Json(versions.into_iter().map(Version::from).collect()))
    })
    .await
}

/// A task that has read one dataset and written another.
#[derive(Serialize, ToSchema)]
pub(super) struct Edge {
    /// Empty where the task reads nothing.
    from: Option<String>,
    pipeline: String,
    task: String,
    to: String,
}

/// Which datasets were made of which, over all runs.
#[utoipa::path(get, path = "/lineage", responses((status = OK, body = Vec<Edge>)))]
pub(super) async fn lineage(State(site): State<Arc<Site>>) -> Result<Json<Vec<Edge>>, Failure> {
    site.ask(|_, store| {
        let edge = |edge: orchestrator::store::LineageEdge| Edge {
            from: edge.from,
            pipeline: edge.pipeline,
            task: edge.task,
            to: edge.to,
        };
        Ok(Json(store.lineage()?.into_iter().map(edge).collect()))
    })
    .await
}
