//! The REST API, `/api/v1`: what the pages show, as JSON. Errors are problems of RFC 9457.

mod datasets;
mod pipelines;
mod runs;

use crate::Site;
use crate::failure::Failure;
use axum::Router;
use axum::body::HttpBody;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Query};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tidemill",
        description = "Pipelines, their runs and datasets. Times are RFC 3339 in UTC, durations \
                       milliseconds, sizes bytes."
    ),
    modifiers(&BearerToken),
    security((), ("token" = [])),
)]
struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        bearer.description = Some("Where the daemon has a --token-file.".to_owned());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

fn documented() -> OpenApiRouter<Arc<Site>> {
    let routes = OpenApiRouter::new()
        .routes(routes!(pipelines::list))
        .routes(routes!(pipelines::show))
        .routes(routes!(pipelines::start))
        .routes(routes!(pipelines::pause))
        .routes(routes!(pipelines::unpause))
        .routes(routes!(pipelines::schedule))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::events))
        .routes(routes!(runs::log))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::resume))
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::versions))
        .routes(routes!(datasets::lineage));
    OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, routes)
}

pub(crate) fn router() -> Router<Arc<Site>> {
    let (router, document) = documented().split_for_parts();
    let missing = |uri: axum::http::Uri| async move {
        Failure::new(StatusCode::NOT_FOUND, format!("there is no `{}` here", uri.path()))
    };
    router
        .route("/api/v1/openapi.json", get(move || async move { Json(document).into_response() }))
        .route("/api/{*path}", get(missing).post(missing))
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "there is nothing here for this method")
        })
}

/// A problem of RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
struct Problem {
    /// `about:blank`: the status says what kind it is.
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong, and what to do about it.
    detail: String,
}

/// The most of anything in one answer.
const MOST: usize = 1000;

/// How many come where nobody says.
fn fifty() -> usize {
    50
}

/// Whether so many may be asked for.
fn check_count(name: &str, count: usize) -> Result<(), Failure> {
    match count {
        1..=MOST => Ok(()),
        _ => Err(Failure::bad_request(format!("`{name}` must be from 1 to {MOST}, not {count}"))),
    }
}

/// [`Query`] whose rejection is a problem.
struct Asked<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Failure> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection: QueryRejection| Failure::bad_request(rejection.body_text()))?;
        Ok(Asked(value))
    }
}

/// [`Json`] whose rejection is a problem; without a body, all of it is left out.
struct Given<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Default> FromRequest<S> for Given<T> {
    type Rejection = Failure;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Failure> {
        let has_kind = request.headers().contains_key(header::CONTENT_TYPE);
        if !has_kind && request.body().size_hint().exact() == Some(0) {
            return Ok(Given(T::default()));
        }
        let Json(value) =
            Json::from_request(request, state).await.map_err(|rejection: JsonRejection| {
                Failure::new(rejection.status(), rejection.body_text())
            })?;
        Ok(Given(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_tells_of_every_route() {
        let (_, document) = documented().split_for_parts();
        let operations: usize = document
            .paths
            .paths
            .values()
            .map(|item| usize::from(item.get.is_some()) + usize::from(item.post.is_some()))
            .sum();
        assert_eq!(operations, 15);
        for path in document.paths.paths.keys() {
            assert!(path.starts_with(BASE), "{path}");
        }
    }
}
