//! The files of artifacts, in a sandbox: what a pipeline has made must not act for who looks at it.

use crate::Site;
use crate::failure::Failure;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;
use tokio_util::io::ReaderStream;

/// Scripts may draw; nothing may be fetched, sent, or done in the name of the reader.
const SANDBOX: &str = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'self'; \
                       style-src 'unsafe-inline' 'self'; img-src 'self' data: blob:; \
                       font-src 'self' data:; form-action 'none'; base-uri 'none'; \
                       frame-ancestors 'self'";

pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new().route("/artifacts/{name}/{version}/{*path}", get(file))
}

/// The directory of all artifacts.
pub fn root(site: &Site) -> PathBuf {
    site.data_dir.join("artifacts")
}

async fn file(
    State(site): State<Arc<Site>>,
    Path((name, version, path)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let root = root(&site);
    let wanted = format!("{name}/{version}/{path}");
    let found = tokio::task::spawn_blocking(move || find(&root, &wanted));
    let (path, file) = found.await.map_err(|_| Failure::internal("looking broke off"))??;
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    let headers = [
        (header::CONTENT_TYPE, kind(&path)),
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, body).into_response())
}

/// A file below `root`, also by way of links, but never one elsewhere.
fn find(root: &FilePath, wanted: &str) -> Result<(PathBuf, File), Failure> {
    let missing = || Failure::not_found("file of an artifact", wanted);
    let path = FilePath::new(wanted);
    // A leading dot is what a run has not finished.
    let is_plain = path.components().all(|part| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    });
    if !is_plain || wanted.contains('\0') {
        return Err(missing());
    }
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => missing(),
        _ => Failure::internal(format!("cannot read `{wanted}`: {error}")),
    };
    let root = root.canonicalize().map_err(failed)?;
    let path = root.join(path).canonicalize().map_err(failed)?;
    if !path.starts_with(&root) || !path.is_file() {
        return Err(missing());
    }
    let file = File::open(&path).map_err(failed)?;
    Ok((path, file))
}

fn kind(path: &FilePath) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "csv" => "text/csv; charset=utf-8",
        "md" | "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().join("artifacts");
        let run = root.join("sales/r1");
        std::fs::create_dir_all(run.join("data")).unwrap();
        std::fs::write(run.join("index.html"), "page").unwrap();
        std::fs::write(data.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("r1", root.join("sales/latest")).unwrap();
        std::os::unix::fs::symlink("../../../secret", run.join("link")).unwrap();
        std::fs::create_dir_all(root.join("sales/.r2.tmp")).unwrap();
        std::fs::write(root.join("sales/.r2.tmp/index.html"), "half").unwrap();
        for wanted in ["sales/r1/index.html", "sales/latest/index.html"] {
            let (path, _) = find(&root, wanted).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), b"page", "{wanted}");
        }
        let bad = [
            "sales/r1/../../../secret",
            "sales/r1/link",
            "sales/../../secret",
            "sales/.r2.tmp/index.html",
            "sales/r1/data",
            "sales/r1/nothing",
            "sales/r1/index.html/x",
            "sales/r1//etc/passwd",
        ];
        for wanted in bad {
            let failure = find(&root, wanted).unwrap_err();
            assert_eq!(failure.status.as_u16(), 404, "{wanted}: {}", failure.detail);
        }
    }
}
