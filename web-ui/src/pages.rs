//! The pages: one module and one template each.

mod admin;
mod dashboards;
mod datasets;
mod definition;
mod history;
mod home;
mod login;
mod pipeline;
mod run;

pub use pipeline::set_paused;
pub use run::request_cancel;

use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::failure::Failure;
use askama::Template;
use axum::Router;
use axum::extract::{Form, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use std::sync::Arc;

pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(home::page))
        .route("/runs", get(history::page))
        .route("/pipelines/{name}", get(pipeline::page))
        .route("/pipelines/{name}/run", post(pipeline::start))
        .route("/pipelines/{name}/pause", post(pipeline::pause))
        .route("/runs/{run}", get(run::page))
        .route("/runs/{run}/cancel", post(run::cancel))
        .route("/runs/{run}/resume", post(run::resume))
        .route("/runs/{run}/again", post(run::again))
        .route("/datasets", get(datasets::catalogue))
        .route("/datasets/{*name}", get(datasets::page))
        .route("/dashboards", get(dashboards::list))
        .route("/dashboards/{name}", get(dashboards::page))
        .route("/admin", get(admin::page))
        .route("/login", get(login::page).post(login::login))
        .route("/logout", post(login::logout))
        .route("/theme", post(theme))
        .fallback(missing)
}

/// What a handler of a page gives.
type Page = Result<Html<String>, Failure>;

fn render(template: &impl Template) -> Page {
    let text = template.render().map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Html(text))
}

async fn missing(request: Request) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("there is no page `{}`", request.uri().path()))
}

#[derive(Deserialize)]
struct Theme {
    theme: String,
}

async fn theme(headers: HeaderMap, Form(Theme { theme }): Form<Theme>) -> Response {
    let known = ["light", "dark"].into_iter().find(|known| *known == theme);
    let cookie = match known {
        Some(theme) => format!("theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax"),
        None => "theme=; Path=/; Max-Age=0; SameSite=Lax".to_owned(),
    };
    ([(header::SET_COOKIE, cookie)], back(&headers)).into_response()
}

/// To the page that a form was on.
fn back(headers: &HeaderMap) -> Redirect {
    let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok());
    // Only the path: another origin is never gone to.
    let path = from
        .and_then(|from| from.split_once("://"))
        .and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..]))
        .filter(|path| !path.starts_with("//") && !path.contains('\\'))
        // What only a form can ask for has no page.
        .filter(|path| form_of(path.split(['?', '#']).next().unwrap_or_default()).is_none());
    Redirect::to(path.unwrap_or("/"))
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    chrome: Chrome,
    title: String,
    detail: String,
    /// Whether the detail is a text of the terminal, with lines and carets.
    is_problem: bool,
    /// The page that the request came from, if it was a form's.
    back: Option<String>,
}

fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// The page with the form that posts to a path, if it is such a path.
fn form_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["pipelines", name, "run"] => Some(format!("/pipelines/{name}#start")),
        ["pipelines", name, "pause"] => Some(format!("/pipelines/{name}")),
        ["runs", run, "cancel" | "resume" | "again"] => Some(format!("/runs/{run}")),
        _ => None,
    }
}

/// Shows failures of pages as a page.
pub(crate) async fn errors(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Response {
    let taste = Taste::of(request.headers());
    let back = form_of(request.uri().path());
    let response = next.run(request).await;
    let failure = match response.extensions().get::<Failure>() {
        Some(failure) => failure.clone(),
        // What axum refuses by itself: a form that does not fit. What is a page already stays one.
        None if response.status().is_client_error() && !is_page(&response) => {
            Failure::new(response.status(), "the request is not one that these pages make")
        }
        None => return response,
    };
    let title = match failure.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::CONFLICT => "Not now",
        StatusCode::UNPROCESSABLE_ENTITY => "This can’t be run yet",
        status if status.is_server_error() => "This did not work",
        _ => "Not understood",
    };
    let page = ErrorPage {
        chrome: site.chrome(Section::None, taste),
        title: title.to_owned(),
        is_problem: failure.detail.contains('\n'),
        // What was typed into a field is an option of the terminal.
        detail: failure.detail.replace("--set ", ""),
        back,
    };
    match render(&page) {
        Ok(html) => (failure.status, html).into_response(),
        Err(failure) => failure.into_response(),
    }
}
