//! Signing in with the token, where there is one.

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::failure::Failure;
use crate::guard::COOKIE;
use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// How long a browser remembers the token, in seconds.
const REMEMBERED: u32 = 30 * 24 * 3600;
/// Guessing is slow.
const AFTER_WRONG: Duration = Duration::from_millis(500);

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    chrome: Chrome,
    next: String,
    wrong: bool,
}

#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct Given {
    token: String,
    #[serde(default)]
    next: String,
}

/// A path of these pages; anything else leads home.
fn local(next: &str) -> String {
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_local && !next.chars().any(char::is_control) { next.to_owned() } else { "/".to_owned() }
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Query(Next { next }): Query<Next>,
) -> Page {
    let chrome = site.chrome(Section::None, Taste::of(&headers));
    render(&Login { chrome, next: local(&next), wrong: false })
}

pub async fn login(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Form(Given { token, next }): Form<Given>,
) -> Result<Response, Failure> {
    let next = local(&next);
    match &site.token {
        None => Ok(Redirect::to(&next).into_response()),
        Some(known) if known.is(token.trim()) => {
            let cookie = format!(
                "{COOKIE}={}; Path=/; Max-Age={REMEMBERED}; HttpOnly; SameSite=Lax",
                known.session()
            );
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
        }
        Some(_) => {
            tracing::warn!("somebody gave a wrong token");
            tokio::time::sleep(AFTER_WRONG).await;
            let chrome = site.chrome(Section::None, Taste::of(&headers));
            Ok(render(&Login { chrome, next, wrong: true })?.into_response())
        }
    }
}

pub async fn logout() -> impl IntoResponse {
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login"))
}
