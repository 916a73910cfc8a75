//! Why a request is not answered as wished.

use crate::daemon::Refusal;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use orchestrator::run::RestoreError;
use orchestrator::store::StoreError;

/// An error with its HTTP status. The API sends it as a problem of RFC 9457; pages are made of the
/// same by a layer around them.
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: StatusCode,
    /// A sentence for people, with the remedy.
    pub detail: String,
}

impl Failure {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Failure {
        Failure { status, detail: detail.into() }
    }

    pub fn not_found(what: &str, name: &str) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, format!("there is no {what} `{name}`"))
    }

    pub fn bad_request(detail: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn internal(detail: impl Into<String>) -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!("a request failed: {}", self.detail);
        }
        let problem = serde_json::json!({
            "type": "about:blank",
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, problem.to_string()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let status = match error {
            StoreError::NoSuchRun(_) => StatusCode::NOT_FOUND,
            StoreError::AmbiguousRun { .. } => StatusCode::BAD_REQUEST,
            StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, error.to_string())
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Failure {
        let status = match error {
            RestoreError::Outdated { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            RestoreError::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let status = match refusal {
            Refusal::Unknown(_) => StatusCode::NOT_FOUND,
            Refusal::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Busy(_) => StatusCode::CONFLICT,
            Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, refusal.to_string())
    }
}
