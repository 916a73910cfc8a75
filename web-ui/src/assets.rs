//! The files that pages bring with them.

use crate::Site;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

pub fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/style.css", get(|| file("text/css", include_str!("../assets/style.css"))))
        .route("/app.js", get(|| file("text/javascript", include_str!("../assets/app.js"))))
        .route("/favicon.svg", get(|| file("image/svg+xml", include_str!("../assets/favicon.svg"))))
}

async fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    // They change with the program alone, and are small.
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CACHE_CONTROL, "max-age=300".to_owned()),
    ];
    (headers, text)
}
