//! Who may ask for what, and what the browser is told about it.
//!
//! Without a token, everyone on this machine may ask, but no web page may: a page elsewhere can
//! make a browser send requests here, by a name that it points to 127.0.0.1 (DNS rebinding), or
//! across origins (CSRF). Therefore Host and Origin are checked.

use crate::Site;
use crate::failure::Failure;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The cookie of a browser that has given the token.
pub(crate) const COOKIE: &str = "tidemill_session";

/// Pages bring all that they need with them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// What opens the pages and the API from elsewhere.
pub struct Token {
    digest: [u8; 32],
    /// What the cookie of a browser holds: made of the token, so that a new token ends sessions.
    session: String,
}

/// Shorter ones could be guessed.
const SHORTEST: usize = 16;

impl Token {
    /// Reads the token from a file, without the white space around it.
    pub fn read(path: &Path) -> io::Result<Token> {
        let text = std::fs::read_to_string(path)?;
        let text = text.trim();
        if text.len() < SHORTEST {
            let message = format!("the token must have at least {SHORTEST} characters");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Token::new(text))
    }

    pub fn new(text: &str) -> Token {
        let digest = Sha256::digest(text.as_bytes()).into();
        let session = Sha256::digest(format!("tidemill session of {text}").as_bytes());
        let session = session.iter().map(|byte| format!("{byte:02x}")).collect();
        Token { digest, session }
    }

    /// Whether `text` is the token; the time that it takes says nothing about how near it is.
    pub(crate) fn is(&self, text: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        self.digest == other
    }

    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    fn opens(&self, headers: &HeaderMap) -> bool {
        let bearer = text(headers, header::AUTHORIZATION).and_then(|all| all.split_once(' '));
        if let Some((scheme, token)) = bearer
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return self.is(token.trim());
        }
        // Digests are compared, as in `is`.
        let digest = |text: &str| Sha256::digest(text.as_bytes());
        cookie(headers, COOKIE).is_some_and(|cookie| digest(cookie) == digest(&self.session))
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    all.filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Lets a request through or not, and adds to every answer what the browser is to know.
pub(crate) async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = match admit(&site, &request) {
        Ok(()) => next.run(request).await,
        Err(response) => *response,
    };
    let headers = response.headers_mut();
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Artifacts have a policy of their own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn admit(site: &Site, request: &Request) -> Result<(), Box<Response>> {
    let headers = request.headers();
    let refuse = |status, detail: String| Box::new(Failure::new(status, detail).into_response());
    let host = text(headers, header::HOST).unwrap_or_default();
    if site.token.is_none() && !is_local(host) {
        return Err(refuse(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "`{host}` is not a name of this machine: ask for 127.0.0.1 or localhost, or start \
                 the daemon with --token-file to serve other names"
            ),
        ));
    }
    if is_unsafe(request.method()) && !is_same_origin(headers, host) {
        return Err(refuse(
            StatusCode::FORBIDDEN,
            "the request comes from a page of another origin".to_owned(),
        ));
    }
    let path = request.uri().path();
    let is_open = matches!(
        path,
        "/login" | "/theme" | "/style.css" | "/app.js" | "/favicon.svg" | "/healthz" | "/readyz"
    );
    match &site.token {
        Some(token) if !is_open && !token.opens(headers) => {
            if wants_page(request) {
                let next = request.uri().path_and_query().map_or("/", |uri| uri.as_str());
                let to = format!("/login?next={}", crate::words::encode(next));
                return Err(Box::new(Redirect::to(&to).into_response()));
            }
            let mut response = refuse(
                StatusCode::UNAUTHORIZED,
                "give the token of --token-file in the header `Authorization: Bearer TOKEN`".into(),
            );
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            Err(response)
        }
        _ => Ok(()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn wants_page(request: &Request) -> bool {
    let path = request.uri().path();
    let accepts = text(request.headers(), header::ACCEPT).unwrap_or_default();
    request.method() == Method::GET && !path.starts_with("/api/") && accepts.contains("text/html")
}

/// Whether a Host header names this machine alone.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request that changes something comes from our own pages, or from no page at all.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        return name == Some(host);
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:5000", "10.0.0.1", "[::2]:80"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn forms_of_other_pages_are_told_apart() {
        let check = |name: &str, value: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
            assert_eq!(is_same_origin(&headers, "localhost:5000"), expect, "{name}: {value}");
        };
        check("origin", "http://localhost:5000", true);
        check("origin", "http://localhost:5001", false);
        check("origin", "http://evil.example", false);
        // A sandboxed frame, such as an artifact's.
        check("origin", "null", false);
        check("sec-fetch-site", "same-origin", true);
        check("sec-fetch-site", "cross-site", false);
        check("user-agent", "curl", true);
    }
}
