//! The server: connections with limits, so that slow or greedy clients harm nobody else.

use crate::{Site, api, artifacts, assets, guard, live, logs, metrics, pages};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

/// Connections at once; more wait.
const MOST_CONNECTIONS: usize = 256;
/// For the head of a request to come in.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request to be answered, live updates excepted.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Of a request's head.
const MOST_HEAD: usize = 32 * 1024;
/// Of a form or a JSON document.
const MOST_BODY: usize = 256 * 1024;
/// For open answers to end when the server stops.
const PATIENCE: Duration = Duration::from_secs(1);

/// All that is served, with what holds for every request.
pub(crate) fn router(site: &Arc<Site>) -> Router {
    let pages = pages::router().layer(middleware::from_fn_with_state(site.clone(), pages::errors));
    let answered = pages
        .merge(api::router())
        .merge(assets::router())
        .merge(logs::router())
        .merge(artifacts::router())
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(metrics::ready))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT));
    answered
        .layer(CompressionLayer::new())
        .route("/live", get(live::live))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(site.clone(), guard::guard))
        .with_state(site.clone())
}

/// Serves until `stop` is over.
pub async fn serve(
    site: Arc<Site>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = TowerToHyperService::new(router(&site));
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MOST_HEAD);
    tokio::pin!(stop);
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            next = next => next?,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // Out of file descriptors, or the client is gone already.
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is no concern of ours.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    site.changes.close();
    let _ = tokio::time::timeout(PATIENCE, graceful.shutdown()).await;
    Ok(())
}
